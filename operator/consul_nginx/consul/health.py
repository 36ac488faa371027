"""From ``/v1/health/service`` entries to instances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from consul_nginx.model.consul import Health, Instance

_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"
_WORST_FIRST = (Health.CRITICAL, Health.WARNING)
_KNOWN = {Health.PASSING.value, Health.WARNING.value, Health.CRITICAL.value}

Value = TypeVar("Value")


class MalformedError(ValueError):
    """A field that is not of the type that Consul gives it."""


def parse_instances(entries: Any) -> tuple[Instance, ...]:
    """Instances of an answer, sorted; an instance without an address has its node's.

    An entry that can't be read is ``Health.MALFORMED``, and costs no other. Raises
    ``MalformedError`` when that is all of them, or ``entries`` no list: that is not Consul's.
    """
    if type(entries) is not list:
        raise MalformedError("not a list of instances")
    instances = tuple(sorted(map(_instance, entries)))
    if instances and all(instance.health is Health.MALFORMED for instance in instances):
        raise MalformedError("no entry is an instance")
    return instances


def aggregate(checks: Iterable[Any]) -> Health:
    """Worst state of the checks; no check at all is passing, an unknown state is critical.

    Raises ``MalformedError`` for a check without a status.
    """
    states = set()
    for check in checks:
        check_id = _field(check, "CheckID", str, "")
        if check_id == _NODE_MAINTENANCE or check_id.startswith(_SERVICE_MAINTENANCE):
            return Health.MAINTENANCE
        status = _field(check, "Status", str)
        states.add(Health(status) if status in _KNOWN else Health.CRITICAL)
    return next((state for state in _WORST_FIRST if state in states), Health.PASSING)


def _instance(entry: Any) -> Instance:
    try:
        return _read(entry)
    except MalformedError:
        return Instance(
            id=_text(entry, "Service", "ID"),
            node=_text(entry, "Node", "Node"),
            address="",
            port=0,
            health=Health.MALFORMED,
        )


def _read(entry: Any) -> Instance:
    node, service = _field(entry, "Node", dict), _field(entry, "Service", dict)
    health = aggregate(_field(entry, "Checks", list))
    weights = _field(service, "Weights", dict, {})
    return Instance(
        id=_field(service, "ID", str),
        node=_field(node, "Node", str),
        address=_field(service, "Address", str, "") or _field(node, "Address", str, ""),
        # Consul leaves it out when a service was registered without a port.
        port=_field(service, "Port", int, 0),
        health=health,
        weight=_field(weights, "Warning" if health is Health.WARNING else "Passing", int, 1),
    )


def _field(raw: Any, name: str, kind: type[Value], default: Value | None = None) -> Value:
    """A field of exactly that type (``True`` is no number); null is as good as missing."""
    if type(raw) is not dict:
        raise MalformedError(f"{name} is not in an object")
    value = raw.get(name)
    if value is None:
        value = default
    if type(value) is not kind:
        raise MalformedError(f"{name} is no {kind.__name__}")
    return value


def _text(entry: Any, part: str, name: str) -> str:
    """What can be told of a malformed entry, so that people find it."""
    try:
        return _field(_field(entry, part, dict), name, str)
    except MalformedError:
        return ""
