"""Fields of what Consul answers, which may be anything."""

from __future__ import annotations

from typing import Any, TypeVar

from consul_nginx.consul.errors import ConsulUnavailable

Value = TypeVar("Value")


class MalformedError(ValueError):
    """A field that is not of the type that Consul gives it."""


def field_of(raw: Any, name: str, kind: type[Value], default: Value | None = None) -> Value:
    """A field of exactly that type (``True`` is no number); null is as good as missing.

    Raises ``MalformedError``.
    """
    if type(raw) is not dict:
        raise MalformedError(f"{name} is not in an object")
    value = raw.get(name)
    if value is None:
        value = default
    if type(value) is not kind:
        raise MalformedError(f"{name} is no {kind.__name__}")
    return value


def malformed(what: object) -> ConsulUnavailable:
    """An answer that isn't Consul's, as a proxy may give one; ``what`` is wrong with it."""
    return ConsulUnavailable(f"not an answer of Consul's: {what}")
