"""Which route of a host a path takes. Pure.

Exact paths come first, then regular expressions, then prefixes; the longer before the shorter, and
of the same length by their text. nginx keeps to the same order, but for one place: a prefix such as
``/shop`` is written as ``= /shop`` and ``/shop/``, and nginx takes the former before any
expression. So what ``/shop`` alone is answered by is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from consul_nginx.model.mapping import PathType
from consul_nginx.model.nginx import Route

_STRENGTH = {
    PathType.EXACT: 0,
    PathType.REGULAR_EXPRESSION: 1,
    PathType.PREFIX: 2,
}


def by_precedence(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Routes of a host, the strongest first, whatever the order they came in."""
    return tuple(
        sorted(
            routes,
            key=lambda item: (_STRENGTH[item.path.type], -len(item.path.value), item.path.value),
        )
    )


def exact_routes(routes: Sequence[Route]) -> tuple[tuple[str, Route], ...]:
    """What each path is answered by that nginx has to know literally; ``routes`` by precedence."""
    found: dict[str, Route] = {}
    for route in routes:
        path = route.path
        if path.type is PathType.EXACT:
            found[path.value] = route
        elif path.type is PathType.PREFIX and path.value != "/" and path.value not in found:
            found[path.value] = _expression_for(path.value, routes) or route
    return tuple((path, found[path]) for path in sorted(found))


def _expression_for(path: str, routes: Iterable[Route]) -> Route | None:
    expressions = (item for item in routes if item.path.type is PathType.REGULAR_EXPRESSION)
    return next((item for item in expressions if re.match(item.path.value, path, re.ASCII)), None)
