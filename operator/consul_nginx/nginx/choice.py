"""Which of several routes takes a request: maps, and a location's way to the route. Pure.

A location whose requests one route takes has that route's directives. Others ask a variable, and
hand the request to the named location of a route: it keeps its method, its body and its URI.

    map $http_x_beta $header_1 { default 0; "" 0; "~^yes$" 1; }          is it like this?
    map "${header_1}${method_1}" $all_1 { default 0; "11" 1; }           in all that a route asks?
    map "${all_1}" $chosen_1 { default @route_b; "~^0{0}1" @route_a; }   which route is the first?
    location /shop/ { error_page 418 = $chosen_1; return 418; }

nginx computes a variable when it is asked for, and once for a request. Of many routes the variables
are asked in groups, each of which leads to the next: nginx follows a hundred.

Of an expression that goes back and forth too often nobody knows whether it matches: the request is
answered 500, as where a location has the expression. A weaker route may ask for less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from consul_nginx.model.mapping import Path, PathType
from consul_nginx.model.nginx import Candidate, HttpListener, Location, Proxy, Route
from consul_nginx.model.request_match import ValueMatch, ValueMatchType
from consul_nginx.model.variables import Variable
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive, entry, quoted

# Sixty-four names are half of what nginx reads as one argument.
_GROUP = 64
_NO, _YES, _UNDECIDED = Token("0"), Token("1"), Token("2")
_NOT = directive("default", _NO)
# Any code that no route answers before it is chosen.
_CHOOSE = tokens.number(418, low=418, high=418)
NOBODY = tokens.named_location("nobody")
UNDECIDED = tokens.named_location("undecided")


def route_location(route: Route) -> Token:
    """Name of the location that answers for a route: of a host, each has its path and match."""
    digest = hashlib.sha256(repr((route.path, route.match)).encode()).hexdigest()[:16]
    return tokens.named_location(f"route_{digest}")


def handing_on(chosen: Variable) -> list[Token]:
    """All of a location that leaves the request to the one that a variable names."""
    zero = tokens.number(0, low=0, high=0)
    return [
        # The length of a body is judged here, and nowhere later: the route does it by itself.
        directive("client_max_body_size", zero),
        directive("error_page", _CHOOSE, Token("="), tokens.variable(chosen.name)),
        # Else the route's own error pages mean nothing: this one is the first.
        directive("recursive_error_pages", tokens.word("on")),
        directive("return", _CHOOSE),
    ]


class Choices:
    """The variables that the locations of one listener ask."""

    def __init__(self, listener: HttpListener) -> None:
        self._identity = listener.id
        self._maps: dict[str, tuple[Token, Sequence[Token]]] = {}
        # By identity: of many locations with many routes, most are asked for again and again.
        self._taking: dict[tuple[int, bool], Variable] = {}
        self._groups: dict[tuple[object, ...], Variable] = {}

    @property
    def maps(self) -> list[dict[str, Token | Sequence[Token]]]:
        """Their definitions, for the template."""
        return [
            {"head": tokens.spaced(source, tokens.variable(name)), "lines": lines}
            for name, (source, lines) in self._maps.items()
        ]

    def first_of(self, candidates: Sequence[Candidate]) -> Variable:
        """The location of the first route that takes a request."""
        *others, last = candidates
        tested, chosen = (
            (others, route_location(last.route)) if last.takes_all else (candidates, NOBODY)
        )
        # From the end: what is weaker is asked for several locations in the same groups.
        for end in range(len(tested), 0, -_GROUP):
            found = self._first_of_group(tested[max(end - _GROUP, 0) : end], otherwise=chosen)
            chosen = tokens.variable(found.name)
        return found

    def longer_than(self, size: int) -> Variable:
        """Whether a request says that its body is longer, in bytes."""
        length = quoted(Variable("content_length"))
        return self._defined("longer", length, _NOT, entry(tokens.greater_than(size), _YES))

    def _first_of_group(self, group: Sequence[Candidate], *, otherwise: Token) -> Variable:
        key = (*((id(one.route), one.path_known) for one in group), otherwise)
        if key not in self._groups:
            self._groups[key] = self._defined(
                "chosen",
                quoted(*(self._takes(candidate) for candidate in group)),
                directive("default", otherwise),
                *(
                    entry(tokens.one_after_zeros(position), route_location(candidate.route))
                    for position, candidate in enumerate(group)
                ),
                *(
                    [entry(tokens.TWO_AFTER_ZEROS, UNDECIDED)]
                    if any(map(may_give_up, group))
                    else []
                ),
            )
        return self._groups[key]

    def _takes(self, candidate: Candidate) -> Variable:
        key = id(candidate.route), candidate.path_known
        if key not in self._taking:
            self._taking[key] = self._all_hold(candidate)
        return self._taking[key]

    def _all_hold(self, candidate: Candidate) -> Variable:
        tests = list(self._tests(candidate.route))
        if not candidate.path_known:
            tests.insert(0, self._has_path(candidate.route.path))
        if len(tests) == 1:
            return tests[0]
        lines = [_NOT, entry(quoted("1" * len(tests)), _YES)]
        if may_give_up(candidate):
            lines.append(entry(tokens.NO_ZERO, _UNDECIDED))
        return self._defined("all", quoted(*tests), *lines)

    def _has_path(self, path: Path) -> Variable:
        uri = quoted(Variable("uri"))
        if path.type is PathType.PREFIX:
            below = entry(tokens.expression_below(path.value), _YES)
            return self._defined("path", uri, _NOT, below)
        return self._defined("path", uri, *_matching(tokens.expression_for_path(path.value)))

    def _tests(self, route: Route) -> Iterator[Variable]:
        answers_browsers = isinstance(route.action, Proxy) and route.action.traffic.cors is not None
        if route.match.methods:
            yield self._has_method(route.match.methods, answers_browsers=answers_browsers)
        for header in route.match.headers:
            has_it = self._has_value(header, kind="header", prefix="http_")
            yield self._or_asks_for(header, has_it) if answers_browsers else has_it
        for parameter in route.match.query_parameters:
            yield self._has_value(parameter, kind="parameter", prefix="arg_")

    def _has_method(self, methods: Iterable[str], *, answers_browsers: bool) -> Variable:
        """Of what a browser asks before a request, the method of that request counts too."""
        method, asked = Variable("request_method"), Variable("http_access_control_request_method")
        if not answers_browsers:
            known = entry(tokens.one_of(methods), _YES)
            return self._defined("method", quoted(method), _NOT, known)
        return self._defined(
            "method",
            quoted(method, ":", asked),
            _NOT,
            entry(tokens.begins_with_one_of(methods), _YES),
            entry(tokens.asks_for_one_of(methods), _YES),
        )

    def _has_value(self, item: ValueMatch, *, kind: str, prefix: str) -> Variable:
        # Of headers, nginx makes variables with _ for every dash.
        source = quoted(Variable(prefix + item.name.replace("-", "_")))
        nothing = entry(quoted(), _NO)
        if item.type is ValueMatchType.EXACT:
            value = entry(tokens.equal_to(item.value), _YES)
            return self._defined(kind, source, _NOT, nothing, value)
        return self._defined(kind, source, *_matching(tokens.matched_by(item.value)), nothing)

    def _or_asks_for(self, header: ValueMatch, has_it: Variable) -> Variable:
        """A browser asks by the header's name alone, before a request that has it."""
        asked = Variable("http_access_control_request_headers")
        listed = entry(tokens.listed(header.name), _YES)
        asks = self._defined("asked", quoted(Variable("preflight"), ":", asked), _NOT, listed)
        lines = [directive("default", _YES), entry(quoted("00"), _NO)]
        if header.type is ValueMatchType.REGULAR_EXPRESSION:
            lines.append(entry(quoted("20"), _UNDECIDED))
        return self._defined("header", quoted(has_it, asks), *lines)

    def _defined(self, kind: str, source: Token, *lines: Token) -> Variable:
        """The variable that says this; its name is made of all of it, behind a word of ours."""
        content = f"{self._identity} {source} {' '.join(map(str, lines))}"
        name = f"{kind}_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        self._maps[name] = (source, lines)
        return Variable(name)


def may_give_up(candidate: Candidate) -> bool:
    """Whether nginx may find no answer to what a route asks of a request."""
    route, match = candidate.route, candidate.route.match
    compared = not candidate.path_known and route.path.type is PathType.REGULAR_EXPRESSION
    return compared or any(
        item.type is ValueMatchType.REGULAR_EXPRESSION
        for item in (*match.headers, *match.query_parameters)
    )


def _matching(expression: Token) -> list[Token]:
    """Lines of a map; of an expression that it gives up, nginx tries no other, and has the default.

    Source: ``ngx_http_map_find`` in ``ngx_http_variables.c``.
    """
    return [
        directive("default", _UNDECIDED),
        entry(expression, _YES),
        entry(tokens.ANYTHING, _NO),
    ]


def routes_chosen(locations: Iterable[Location]) -> list[Route]:
    """Routes that some location hands requests to, each once."""
    found = {
        str(route_location(candidate.route)): candidate.route
        for location in locations
        for candidate in location.candidates
    }
    return list(found.values())
