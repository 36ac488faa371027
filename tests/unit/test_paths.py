"""Which route takes a path: defined, and whatever the order of creation."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from consul_nginx.model.mapping import Path, PathType, Traffic
from consul_nginx.model.nginx import Proxy, Route, Target
from consul_nginx.plan.paths import beginning, by_precedence, locations
from unit.factories import load_balancer, mapping, planned


def host(*mappings):
    plan = planned(load_balancer=load_balancer(), mappings=mappings, snapshot={})
    assert all(verdict.accepted.is_true for _, verdict in plan.mappings)
    [found] = plan.configuration.listeners[0].hosts
    return found


def route(kind, value):
    return mapping(f"{kind}-{abs(hash(value))}".lower(), path={"type": kind, "value": value})


def taker(found):
    """Type of the path of the route that ``/shop`` alone is answered by."""
    [location] = [item for item in found.locations if str(item.path) == "/shop (Exact)"]
    return location.route.path.type


ROUTES = [
    route("Exact", "/shop"),
    route("RegularExpression", "/shop/[a-z]+$"),
    route("RegularExpression", "/shop"),
    route("Prefix", "/shop/x/y"),
    route("Prefix", "/shop/x"),
]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_of_routes_is_defined_whatever_the_order_of_mappings(order):
    found = host(*[ROUTES[position] for position in (*order, 4)])
    assert [item.path.value for item in found.routes] == [
        "/shop", "/shop/[a-z]+$", "/shop", "/shop/x/y", "/shop/x",
    ]  # fmt: skip


def test_an_exact_path_takes_what_a_prefix_would_take_alone():
    assert taker(host(route("Exact", "/shop"), route("Prefix", "/shop"))) == "Exact"


def test_an_expression_takes_what_a_prefix_would_take_alone():
    found = host(route("RegularExpression", "/sh.p$"), route("Prefix", "/shop"))
    assert taker(found) == "RegularExpression"


def test_an_expression_that_does_not_match_leaves_the_prefix_its_path():
    found = host(route("RegularExpression", "/shop/.+"), route("Prefix", "/shop"))
    assert taker(found) == "Prefix"


def test_one_path_by_two_types_is_no_conflict_and_twice_by_one_is():
    both = (route("Exact", "/a"), route("Prefix", "/a"))
    assert len(host(*both).routes) == 2
    plan = planned(
        load_balancer=load_balancer(),
        mappings=[mapping("one", path={"value": "/a"}), mapping("two", path={"value": "/a/"})],
        snapshot={},
    )
    reasons = [verdict.accepted.reason for _, verdict in plan.mappings]
    assert sorted(reasons) == ["Accepted", "Conflicted"]


def test_each_expression_is_compiled_once_however_many_paths_there_are(monkeypatch):
    """More of them than ``re`` remembers: of 600, and 1,000 paths, it was 15 s."""
    compiled = []

    def seen(text, flags, *, original=re._compiler.compile):
        compiled.append(text)
        return original(text, flags)

    proxy = Proxy(target=Target(upstream="web"), traffic=Traffic())
    paths = [Path(type=PathType.PREFIX, value=f"/p{number}") for number in range(3)]
    expressions = [
        Path(type=PathType.REGULAR_EXPRESSION, value=f"/once{number}/.+") for number in range(600)
    ]
    monkeypatch.setattr(re._compiler, "compile", seen)
    locations(by_precedence([Route(path=path, action=proxy) for path in (*paths, *expressions)]))
    assert sorted(compiled) == sorted(path.value for path in expressions)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("/docs/.*", "/docs/"),
        ("^/docs/[a-z]+", "/docs/"),
        ("/docs?", "/doc"),
        ("/docs{0,2}", "/doc"),
        (r"/a\.b\-c\.*x", "/a.b-c"),
        (r"/a\|b[|]c", "/a|b"),
        (r"/a/(?:b|(?:c|d))/e", "/a/"),
        ("/a|/b", ""),
        (r"/a\(|/b\)", ""),
        (r"/a[(]|/b[)]", ""),
        (r"/a[\]|]", "/a"),
        ("/$", "/"),
        (r"/\d", "/"),
        (".*", ""),
        ("", ""),
    ],
)
def test_what_all_paths_of_an_expression_begin_with(expression, found):
    assert beginning(expression) == found


def test_an_expression_is_compared_with_those_paths_only_that_can_be_its_own():
    chosen = mapping(
        "chosen",
        path={"type": "RegularExpression", "value": "/docs/.+"},
        match={"methods": ["POST"]},
    )
    others = [
        route("Prefix", value) for value in ("/", "/doc", "/docs", "/docs/a", "/other", "/x/docs")
    ]
    others += [
        route("RegularExpression", value) for value in ("/docs/.", "/doc.", "/pages.", "/d|")
    ]
    locations_of_host = host(chosen, *others).locations
    [location] = [item for item in locations_of_host if item.path == chosen.path]
    assert [candidate.route.path.value for candidate in location.candidates] == [
        "/docs/.+", "/docs/.", "/doc.", "/d|", "/docs/a", "/docs", "/",
    ]  # fmt: skip
