"""What Consul's filter expressions mean, for entries that no Consul is asked for.

Fields are those of an entry of ``/v1/health/service`` of Consul 1.22. One that Consul could filter
by and this can't, such as ``Service.Proxy``, is an error: no answer, rather than another than
Consul's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from consul_nginx.consul.fields import field_of
from consul_nginx.model.filter_grammar import (
    Comparison,
    Filter,
    FilterError,
    Operator,
    Selector,
    parse,
)


@dataclass(frozen=True)
class _MapOf:
    value: Kind


@dataclass(frozen=True)
class _ListOf:
    item: Kind


Kind: TypeAlias = "type[str] | type[int] | type[bool] | _MapOf | _ListOf | Mapping[str, Kind]"

_ENTRY: Kind = {
    "Node": {
        "ID": str, "Node": str, "Address": str, "Datacenter": str, "Partition": str,
        "PeerName": str, "TaggedAddresses": _MapOf(str), "Meta": _MapOf(str),
    },
    "Service": {
        "Kind": str, "ID": str, "Service": str, "Tags": _ListOf(str), "Address": str,
        "TaggedAddresses": _MapOf({"Address": str, "Port": int}), "Meta": _MapOf(str),
        "Port": int, "SocketPath": str, "Weights": {"Passing": int, "Warning": int},
        "EnableTagOverride": bool, "PeerName": str,
    },
    "Checks": _ListOf(
        {
            "Node": str, "CheckID": str, "Name": str, "Status": str, "Notes": str, "Output": str,
            "ServiceID": str, "ServiceName": str, "ServiceTags": _ListOf(str), "Type": str,
            "Interval": str, "Timeout": str, "ExposedPort": int, "PeerName": str,
        }
    ),
}  # fmt: skip

_TRUTHS = {"1": True, "t": True, "T": True, "TRUE": True, "true": True, "True": True}
_TRUTHS |= {"0": False, "f": False, "F": False, "FALSE": False, "false": False, "False": False}
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")


def parse_filter(text: str) -> Filter:
    """What tells whether Consul would let an entry through; raises ``FilterError``.

    The filter raises ``MalformedError`` for an entry that is not Consul's.
    """
    return parse(text, compare=_question)


def _question(comparison: Comparison) -> Filter:
    kind = _kind(comparison.selector)
    if comparison.operator not in _operators(kind):
        raise FilterError(
            f"{_shown(comparison.selector)} can't be asked with {comparison.operator.value}"
        )
    test = _test(comparison, kind)
    return lambda entry: _holds(entry, _ENTRY, comparison.selector, comparison, test)


def _kind(selector: Selector) -> Kind:
    kind = _ENTRY
    for depth, name in enumerate(selector):
        try:
            kind = _below(kind, name)
        except LookupError as error:
            place = _shown(selector[: depth + 1])
            raise FilterError(f"a snapshot can't be asked for {place}") from error
    return kind


def _below(kind: Kind, name: str) -> Kind:
    """Kind of a part; those of a list's items are the list's. Raises ``LookupError``."""
    if isinstance(kind, _ListOf):
        return _below(kind.item, name)
    if isinstance(kind, _MapOf):
        return kind.value
    if isinstance(kind, Mapping):
        return kind[name]
    raise LookupError(name)


def _operators(kind: Kind) -> tuple[Operator, ...]:
    if isinstance(kind, _MapOf) or kind == _ListOf(str):
        return (Operator.IN, Operator.EMPTY)
    if isinstance(kind, _ListOf):
        return (Operator.EMPTY,)
    if isinstance(kind, Mapping):
        return ()
    if kind is str:
        return (Operator.EQUAL, Operator.IN, Operator.MATCHES)
    return (Operator.EQUAL,)


def _test(comparison: Comparison, kind: Kind) -> Callable[[Any], bool]:
    value = comparison.value
    match comparison.operator:
        case Operator.EMPTY:
            return lambda found: not found
        case Operator.IN:
            return lambda found: value in found
        case Operator.MATCHES:
            expression = _regular_expression(value)
            return lambda found: expression.search(found) is not None
        case Operator.EQUAL:
            wanted = _converted(value, kind)
            return lambda found: bool(found == wanted)


def _holds(
    found: Any,
    kind: Kind,
    selector: Selector,
    comparison: Comparison,
    test: Callable[[Any], bool],
) -> bool:
    """Whether it holds of what ``selector`` names in ``found``: of any, when that is a list."""
    if not selector:
        return test(found) != comparison.negated
    if isinstance(kind, _ListOf):
        return any(_holds(item, kind.item, selector, comparison, test) for item in found)
    name, *rest = selector
    if isinstance(kind, _MapOf) and name not in found:
        return _holds_without(comparison)
    below = _below(kind, name)
    json_type = _json_type(below)
    value = field_of(found, name, json_type, json_type())
    return _holds(value, below, tuple(rest), comparison, test)


def _holds_without(comparison: Comparison) -> bool:
    """Whether it holds of a key that a map has not; all expressions match that (go-bexpr)."""
    match comparison.operator:
        case Operator.MATCHES:
            return True
        case Operator.EMPTY:
            return not comparison.negated
        case _:
            return comparison.negated


def _json_type(kind: Kind) -> type[Any]:
    if isinstance(kind, _ListOf):
        return list
    if isinstance(kind, _MapOf | Mapping):
        return dict
    return kind


def _converted(value: str, kind: Kind) -> str | int | bool:
    if kind is int:
        if not _NUMBER.fullmatch(value):
            raise FilterError(f"{value!r} is no whole number")
        return int(value)
    if kind is bool:
        if value not in _TRUTHS:
            raise FilterError(f"{value!r} is neither true nor false")
        return _TRUTHS[value]
    return value


def _shown(selector: Selector) -> str:
    return ".".join(selector)


# Where Python's regular expressions say the same as Go's.
_PART = re.compile(
    r"\\[^a-zA-Z0-9]|\\[dDwWbBnrt]|\[\^?(?:[^\\\[\]]|\\[^a-zA-Z0-9]|\\[dDwW])+\]"
    r"|\$|\(\?:|\((?!\?)|[^\\\[\]$(]"
)
_ONLY_PYTHONS = re.compile(r"[*+?}][*+]|\{,")


def _regular_expression(text: str) -> re.Pattern[str]:
    parts, at = [], 0
    while (part := _PART.match(text, at)) is not None:
        # Python's $ would match before a newline at the end, too.
        parts.append(r"\Z" if part[0] == "$" else part[0])
        at = part.end()
    if at < len(text) or _ONLY_PYTHONS.search(text):
        raise FilterError(f"the regular expression {text!r} may mean something else in Consul")
    try:
        return re.compile("".join(parts), re.ASCII)
    except re.error as error:
        raise FilterError(f"the regular expression {text!r}: {error}") from error
