"""Which routes of a host can take a request. Pure.

Exact paths come first, then regular expressions, then prefixes; the longer before the shorter, and
of the same length by their text. Of routes with one path, those with methods come first, then the
more headers, then the more query parameters, then the older mapping (Gateway API:
``HTTPRouteRule.matches``). The first one whose path and match both hold takes the request.

nginx finds a location by the path alone, in the same order but for one place: a prefix such as
``/shop`` is written as ``= /shop`` and ``/shop/``, and nginx takes the former before any
expression. So each location has the routes that can take its requests. Where they have one literal
path, it is decided here which routes these are; where they can have many, nginx compares each with
the paths of the weaker routes, but for those that plainly begin otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consul_nginx.model.mapping import Path, PathType
from consul_nginx.model.nginx import Candidate, Location, Route

_STRENGTH = {
    PathType.EXACT: 0,
    PathType.REGULAR_EXPRESSION: 1,
    PathType.PREFIX: 2,
}

_ESCAPE = re.compile(r"\\.", re.ASCII)
_CLASS = re.compile(r"\[[^\]]*\]", re.ASCII)
_GROUP = re.compile(r"\([^()]*\)", re.ASCII)
# What stands for itself, alone or behind a backslash.
_PIECE = re.compile(r"[A-Za-z0-9/_~!&,=:@-]|\\[^A-Za-z0-9]", re.ASCII)
_PLAIN = re.compile(rf"(?:{_PIECE.pattern})+", re.ASCII)
_REPEATS = re.compile(r"[*+?{]", re.ASCII)


def by_precedence(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Routes of a host, the strongest first; those that are equal stay as they come, by age."""
    return tuple(
        sorted(
            routes,
            key=lambda item: (
                _STRENGTH[item.path.type],
                -len(item.path.value),
                item.path.value,
                item.match.weakness,
            ),
        )
    )


def locations(routes: Sequence[Route]) -> tuple[Location, ...]:
    """What nginx has to tell apart by the path; ``routes`` by precedence."""
    by_type: dict[PathType, dict[str, list[Route]]] = {kind: {} for kind in PathType}
    for route in routes:
        by_type[route.path.type].setdefault(route.path.value, []).append(route)
    host = _Host(
        exact=by_type[PathType.EXACT],
        expressions=by_type[PathType.REGULAR_EXPRESSION],
        prefixes=by_type[PathType.PREFIX],
        # re remembers 512 of them only, and each is compared with all literal paths.
        compiled={
            text: re.compile(text, re.ASCII) for text in by_type[PathType.REGULAR_EXPRESSION]
        },
    )
    return (
        *(
            _location(
                Path(type=PathType.EXACT, value=path),
                host.with_path(path),
                first=host.exact.get(path) or (() if host.expressions else host.prefixes[path]),
            )
            for path in sorted(host.exact.keys() | (host.prefixes.keys() - {"/"}))
        ),
        *(
            _location(found[0].path, host.with_expression(expression), first=found)
            for expression, found in host.expressions.items()
        ),
        *(
            _location(found[0].path, host.below(prefix), first=found)
            for prefix, found in host.prefixes.items()
        ),
    )


def _location(path: Path, candidates: Iterable[Candidate], *, first: Sequence[Route]) -> Location:
    """With those up to the first that leaves no request over.

    ``first`` of them, where that is known: most locations have one route, and thousands of them
    are made.
    """
    if first and first[0].match.is_any:
        return Location(path, first[0])
    found: list[Candidate] = []
    for candidate in candidates:
        if candidate.takes_all and not found:
            return Location(path, candidate.route)
        found.append(candidate)
        if candidate.takes_all:
            break
    return Location(path, None, tuple(found))


@dataclass(frozen=True, kw_only=True)
class _Host:
    """Routes by the value of their path, the strongest first in each and of all."""

    exact: Mapping[str, Sequence[Route]]
    expressions: Mapping[str, Sequence[Route]]
    prefixes: Mapping[str, Sequence[Route]]
    compiled: Mapping[str, re.Pattern[str]]

    def with_path(self, path: str) -> Iterator[Candidate]:
        """Who can take requests for this one path."""
        yield from _known(self.exact.get(path, ()))
        for expression, routes in self.expressions.items():
            if self.compiled[expression].match(path):
                yield from _known(routes)
        yield from self.below(path.rstrip("/") or "/")

    def with_expression(self, expression: str) -> Iterator[Candidate]:
        """Who can take requests that no stronger expression matches, and no literal path."""
        yield from _known(self.expressions[expression])
        texts, begin = list(self.expressions), beginning(expression)
        for weaker in texts[texts.index(expression) + 1 :]:
            if _can_be_one(begin, beginning(weaker)):
                yield from _to_be_compared(self.expressions[weaker])
        for prefix, routes in self.prefixes.items():
            if prefix != "/" and _can_be_one(begin, f"{prefix}/"):
                yield from _to_be_compared(routes)
        yield from _known(self.prefixes.get("/", ()))

    def below(self, prefix: str) -> Iterator[Candidate]:
        """Who can take requests for a prefix that no expression matches."""
        while prefix.strip("/"):
            yield from _known(self.prefixes.get(prefix, ()))
            prefix = prefix.rpartition("/")[0]
        yield from _known(self.prefixes.get("/", ()))


def beginning(expression: str) -> str:
    """What all paths begin with that an expression matches, as far as that is plain.

    It has been accepted (``resources/regular_expressions.py``): no others are read right.
    """
    outside = _CLASS.sub("", _ESCAPE.sub("", expression))
    while outside != (outside := _GROUP.sub("", outside)):
        pass
    if "|" in outside:
        return ""
    text = expression.removeprefix("^")
    found = _PLAIN.match(text)
    pieces = _PIECE.findall(found.group()) if found else []
    if found and _REPEATS.match(text, found.end()):
        pieces.pop()
    return "".join(piece[-1] for piece in pieces)


def _can_be_one(one: str, other: str) -> bool:
    """Whether a path can begin with both."""
    return one.startswith(other) or other.startswith(one)


def _known(routes: Iterable[Route]) -> Iterator[Candidate]:
    return (Candidate(route, path_known=True) for route in routes)


def _to_be_compared(routes: Iterable[Route]) -> Iterator[Candidate]:
    return (Candidate(route, path_known=False) for route in routes)
