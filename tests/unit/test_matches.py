"""Who gets a request of a host and path that several mappings have."""

from __future__ import annotations

import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consul_nginx.model.layout import Layout
from consul_nginx.model.nginx import VirtualHost
from consul_nginx.nginx import tokens
from consul_nginx.nginx.render import render
from unit.factories import load_balancer, mapping, planned
from unit.requests import REQUESTS, Request, competitors, meets, taker

EDGE = load_balancer()


def plan(*mappings):
    return planned(load_balancer=EDGE, mappings=mappings, snapshot={})


def answers(name, path="/shop", *, created="2026-11-22T07:00:00Z", kind="Prefix", **match):
    return mapping(
        name,
        meta={"creationTimestamp": created},
        path={"type": kind, "value": path},
        match=match,
        backends=[],
        fixedResponse={"body": name},
    )


def header(*names, value="1", **more):
    return [{"name": name, "value": value, **more} for name in names]


# The strongest first.
LADDER = [
    answers("methods", methods=["GET"]),
    answers("two-headers", headers=header("A", "B")),
    answers("header-and-parameter", headers=header("A"), queryParameters=header("a")),
    answers("header", headers=header("A", value="2"), created="2026-01-01T00:00:00Z"),
    answers("younger-header", headers=header("A"), created="2026-11-22T08:00:00Z"),
    answers("parameters", queryParameters=header("a", "b")),
    answers("anything", created="2025-01-01T00:00:00Z"),
]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_precedence_is_that_of_gateway_api_whatever_the_order(order):
    shuffled = [*(LADDER[position] for position in order), *reversed(LADDER[4:])]
    [host] = plan(*shuffled).configuration.listeners[0].hosts
    assert [route.action.answer.body for route in host.routes] == [
        item.meta.ref.name for item in LADDER
    ]


def verdicts(*mappings):
    return {item.meta.ref.name: verdict.accepted for item, verdict in plan(*mappings).mappings}


def test_the_same_path_and_match_is_a_conflict_however_it_is_written():
    old = answers("old", methods=["GET", "PUT"], headers=header("X-A", "X-B"))
    new = answers("young", "/shop/", methods=["PUT", "GET"], headers=header("x-b", "x-a"))
    found = verdicts(new, old)
    assert found["old"].is_true
    assert found["young"].reason == "Conflicted"
    assert found["young"].message == (
        "spec.hostnames, spec.path, spec.match: any host with path /shop and method GET, PUT; "
        "header x-a = 1; header x-b = 1 on listener http belongs to the older ServiceMapping "
        "shop/old; choose another host, path or match, or delete that mapping"
    )


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"methods": ["POST"]},
        {"headers": header("X-A", value="2")},
        {"headers": header("X-A", type="RegularExpression")},
        {"queryParameters": header("X_A")},
    ],
)
def test_another_match_is_no_conflict(match):
    found = verdicts(answers("a", headers=header("X-A")), answers("b", **match))
    assert all(condition.is_true for condition in found.values())


def test_a_match_is_refused_where_nobody_can_see_it():
    [verdict] = planned(
        load_balancer=load_balancer(listeners=[{"name": "http", "protocol": "TCP", "port": 80}]),
        mappings=[mapping(match={"methods": ["GET"]})],
        snapshot={},
    ).mappings
    assert verdict[1].accepted.reason == "UnsupportedValue"
    assert verdict[1].accepted.message.startswith("spec.match: listener http speaks TCP")


def name_of(route):
    return route.action.answer.body


def as_nginx_does(host: VirtualHost, request: Request) -> str | None:
    """A literal path, else the first expression, else the longest prefix; then its candidates."""
    by_type: dict[str, list] = {"Exact": [], "RegularExpression": [], "Prefix": []}
    for location in host.locations:
        by_type[location.path.type].append(location)
    found = [item for item in by_type["Exact"] if item.path.value == request.path]
    found += [
        item for item in by_type["RegularExpression"] if re.match(item.path.value, request.path)
    ]
    below = [
        item
        for item in by_type["Prefix"]
        if request.path.startswith(item.path.value.rstrip("/") + "/")
    ]
    found += sorted(below, key=lambda item: -len(item.path.value))
    if not found:
        return None
    if found[0].route is not None:
        return name_of(found[0].route)
    for route, path_known in found[0].candidates:
        if (path_known or has_path(route.path, request.path)) and meets(route, request):
            return name_of(route)
    return None


def has_path(path, asked):
    if path.type == "Prefix":
        return asked.startswith(f"{path.value}/")
    return re.match(path.value, asked) is not None


@settings(max_examples=300, deadline=None)
@given(mappings=competitors(), requests=st.lists(REQUESTS, min_size=1, max_size=20))
def test_the_plan_sends_a_request_where_the_docs_say(mappings, requests):
    hosts = plan(*mappings).configuration.listeners[0].hosts
    for request in requests:
        found = as_nginx_does(hosts[0], request) if hosts else None
        assert found == taker(mappings, request), request


@settings(max_examples=100, deadline=None)
@given(mappings=competitors(), chance=st.randoms())
def test_the_order_in_which_mappings_are_seen_changes_no_byte(mappings, chance):
    shuffled = list(mappings)
    chance.shuffle(shuffled)
    first, second = (
        render(configuration=plan(*order).configuration, layout=Layout())
        for order in (mappings, shuffled)
    )
    assert first.files == second.files


def listener(*mappings):
    files = render(configuration=plan(*mappings).configuration, layout=Layout()).files
    [text] = [text for name, text in files.items() if name.startswith("listener")]
    return text


def test_locations_that_share_no_request_with_a_match_are_written_as_before():
    others = [answers("a", "/a"), answers("b", "/b", kind="Exact"), answers("root", "/")]
    conditional = answers("x", "/x", headers=header("X-A"))
    before = re.findall(r"location .*?\n    \}\n", listener(*others), re.S)
    after = re.findall(r"location .*?\n    \}\n", listener(*others, conditional), re.S)
    assert before == [text for text in after if text in before]
    assert len(after) == len(before) + 4  # = /x, /x/ and the two that they choose from


def test_weaker_routes_are_asked_in_groups_that_locations_share():
    """nginx follows a hundred variables; that it takes so many: tests/nginx/test_matches.py."""
    weak = [answers(f"w{number}", "/", headers=header(f"H-{number}")) for number in range(150)]
    strong = [answers(f"s{number}", f"/s{number}", headers=header("X")) for number in range(20)]
    text = listener(*weak, *strong)
    groups = re.findall(r'^map "((?:\$\{(?:header|all)_\w+\})+)" \$chosen_', text, re.M)
    assert max(group.count("$") for group in groups) == 64
    # Two full ones that all share, one of the rest for "/", and one for each other location.
    assert len(groups) == 3 + 20


@given(limit=st.integers(0, 10**7), asked=st.integers(0, 10**8), zeros=st.integers(0, 3))
def test_a_number_is_found_to_be_greater_by_its_digits(limit, asked, zeros):
    pattern = str(tokens.greater_than(limit))[2:-1].replace("\\\\", "\\")
    assert bool(re.search(pattern, "0" * zeros + str(asked))) == (asked > limit)


@given(text=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_an_exact_value_is_an_expression_of_itself(text):
    written = str(tokens.equal_to(text))
    read = re.sub(r"\\(.)", r"\1", written[1:-1])
    assert re.fullmatch(read.removeprefix("~"), text)
    assert not re.fullmatch(read.removeprefix("~"), f"{text}x")
