"""Mappings of one host that compete for requests, and who should get one: what the docs say.

Written without a look at how the plan does it, mapping by mapping.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from consul_nginx.model.mapping import ServiceMapping
from unit.factories import mapping

_PATHS = [
    ("Prefix", "/"), ("Prefix", "/a"), ("Prefix", "/a/b"), ("Prefix", "/b"), ("Prefix", "/a/b/c/"),
    ("Exact", "/"), ("Exact", "/a"), ("Exact", "/a/"), ("Exact", "/a/b"), ("Exact", "/c"),
    ("RegularExpression", "/a"), ("RegularExpression", "/a/.*"), ("RegularExpression", "/[ab]$"),
    ("RegularExpression", "/a/b(?:/c)?$"), ("RegularExpression", "/.+"),
]  # fmt: skip
ASKED = ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/ab", "/b", "/b/c", "/c", "/d"]
_VALUES = [("Exact", "1"), ("Exact", "2"), ("RegularExpression", "[12]"),
           ("RegularExpression", ".*"), ("Exact", "One")]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks for; names in lower case."""

    path: str
    method: str
    headers: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]


def _named(names: Sequence[str], value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(
        st.tuples(st.sampled_from(names), value),
        max_size=len(names),
        unique_by=lambda pair: pair[0],
    )


def _values(names: Sequence[str]) -> st.SearchStrategy[list[dict[str, str]]]:
    return _named(names, st.sampled_from(_VALUES)).map(
        lambda pairs: [
            {"name": name, "type": kind, "value": value} for name, (kind, value) in pairs
        ]
    )


_MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "POST", "DELETE"]), max_size=2, unique=True),
        "headers": _values(["X-A", "X-B"]),
        "queryParameters": _values(["a", "b"]),
    },
)


@st.composite
def competitors(draw: st.DrawFn) -> list[ServiceMapping]:
    """Mappings that answer by their names."""
    specs = draw(
        st.lists(st.tuples(st.sampled_from(_PATHS), _MATCHES, st.integers(1, 3)), max_size=8)
    )
    return [
        mapping(
            f"m{number}",
            meta={"creationTimestamp": f"2026-11-22T07:00:0{second}Z"},
            path={"type": kind, "value": value},
            match=match,
            backends=[],
            fixedResponse={"body": f"m{number}"},
        )
        for number, ((kind, value), match, second) in enumerate(specs)
    ]


_SENT = st.sampled_from(["1", "2", "3", "One", "one", ""])
REQUESTS = st.builds(
    Request,
    path=st.sampled_from(ASKED),
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    headers=_named(["x-a", "x-b"], _SENT).map(tuple),
    parameters=_named(["a", "b"], _SENT).map(tuple),
)


def taker(mappings: Sequence[ServiceMapping], request: Request) -> str | None:
    """Name of the mapping that gets a request; None when nobody does."""
    fitting = [item for item in mappings if _has_path(item, request.path) and meets(item, request)]
    return min(fitting, key=_precedence).meta.ref.name if fitting else None


def _precedence(item: ServiceMapping) -> Any:
    path, match = item.path, item.match
    return (
        ["Exact", "RegularExpression", "Prefix"].index(path.type),
        -len(path.value),
        path.value,
        0 if match.methods else 1,
        -len(match.headers),
        -len(match.query_parameters),
        item.meta.created,
        item.meta.ref,
    )


def _has_path(item: ServiceMapping, asked: str) -> bool:
    match item.path.type:
        case "Exact":
            return asked == item.path.value
        case "RegularExpression":
            return re.match(item.path.value, asked) is not None
        case _:
            return item.path.value == "/" or f"{asked}/".startswith(f"{item.path.value}/")


def meets(item: ServiceMapping, request: Request) -> bool:
    """Whether all holds that a mapping, or a route, asks for beside the path."""
    pairs = [
        *((one, dict(request.headers)) for one in item.match.headers),
        *((one, dict(request.parameters)) for one in item.match.query_parameters),
    ]
    return (not item.match.methods or request.method in item.match.methods) and all(
        _has_value(one.type, one.value, sent.get(one.name, "")) for one, sent in pairs
    )


def _has_value(kind: str, value: str, sent: str) -> bool:
    if not sent:
        return False
    return sent == value if kind == "Exact" else re.fullmatch(value, sent) is not None
