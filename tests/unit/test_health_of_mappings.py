"""``spec.health`` of a mapping: what can be said there, and what people are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consul_nginx.model.consul import Health, Observation
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.history import advance
from consul_nginx.model.verdict import Status
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import instance, load_balancer, mapping, mapping_raw, planned

NOW = 1795331400.0  # 2026-11-22T07:10:00Z
P, C = Health.PASSING, Health.CRITICAL
FALLBACK = [{"address": "10.9.0.1", "port": 80}]


def policy(**spec):
    group = mapping(**spec).group
    assert group is not None
    return group.policy


def test_by_default_passing_instances_are_served_and_nothing_else_is_done():
    assert policy() == HealthPolicy()


def test_keep_last_keeps_for_its_age_and_the_others_for_the_hold_time():
    kept = policy(health={"onEmpty": "KeepLast", "maxAge": "1m"})
    assert (kept.keep, kept.keep_few, kept.doubt) == (60, True, 60)
    held = policy(health={"holdTime": "5s", "maxAge": "1m"})
    assert (held.keep, held.keep_few, held.doubt) == (5, False, 60)


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"health": {"include": ["warning"]}}, "spec.health.include", "must have passing"),
        ({"health": {"include": []}}, "spec.health.include", "must have passing"),
        ({"health": {"include": ["critical"]}}, "spec.health.include[0]", "'warning'"),
        ({"health": {"minHealthy": 0}}, "spec.health.minHealthy", "greater than or equal to 1"),
        (
            {"health": {"onEmpty": "KeepLast", "holdTime": "5s"}},
            "spec.health.holdTime",
            "maxAge says for how long",
        ),
        ({"health": {"onEmpty": "Fallback"}}, "spec.fallback", "needs spec.fallback"),
        (
            {"health": {"onEmpty": "Fail"}, "fallback": FALLBACK},
            "spec.fallback",
            "leave one of them out",
        ),
        (
            {"balancing": {"algorithm": "ConsistentHash", "slowStart": "5s"}},
            "spec.balancing.slowStart",
            "would move clients",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_field_and_the_way_out(spec, field, words):
    parsed = parse_service_mapping(mapping_raw(**spec))
    assert isinstance(parsed, Invalid)
    assert field in [problem.field for problem in parsed.problems]
    assert words in "; ".join(map(str, parsed.problems))


def told(*healths, at=NOW - 60, **spec):
    """Condition when instances have these healths, each (before, at that time, now)."""
    one = mapping(**spec)
    seen, history = (), {}
    for moment, states in zip((NOW - 120, at, NOW), zip(*healths, strict=True), strict=True):
        now = tuple(
            replace(instance(f"10.0.0.{n}"), health=health) for n, health in enumerate(states, 1)
        )
        history = advance(before=seen, history=history, now=now, at=moment) if seen else {}
        seen = now
    result = planned(
        load_balancer=load_balancer(),
        mappings=[one],
        snapshot={query: Observation(instances=seen, history=history) for query in one.queries},
        now=NOW,
    )
    [(_, verdict)] = result.mappings
    return result, verdict.resolved


KEEP = {"onEmpty": "KeepLast"}


def test_that_instances_are_kept_is_told_with_the_time_when_it_ends():
    result, condition = told((P, C, C), (P, P, C), health=KEEP)
    assert (condition.status, condition.reason) == (Status.FALSE, "EndpointsKept")
    assert condition.message == (
        "0 instances of my-web-server are healthy, health.minHealthy is 1; 2 that were before are "
        "served on, at most until 2026-11-22T07:20:00Z"
    )
    assert result.again == NOW - 60 + 600


def test_that_too_few_are_healthy_is_told_with_what_is_done():
    _, condition = told((P, P, P), (C, C, C), health={"minHealthy": 2})
    assert (condition.status, condition.reason) == (Status.FALSE, "TooFewHealthy")
    assert condition.message.endswith("health.minHealthy is 2; nginx answers 503")
    _, condition = told((P, P, P), (C, C, C), health={**KEEP, "minHealthy": 2})
    assert condition.message.endswith("; only these are served")
    _, condition = told((P, P, P), (C, C, C), health={"minHealthy": 2}, fallback=FALLBACK)
    assert condition.message.endswith("; the fallback is served")


def test_that_nobody_is_healthy_is_told_with_what_counts():
    _, condition = told((P, C, C), health={"include": ["passing", "warning"]})
    assert condition.reason == "NoHealthyEndpoints"
    assert "is passing or warning and usable; nginx answers 503" in condition.message


def test_that_the_fallback_serves_is_told():
    result, condition = told((P, C, C), fallback=FALLBACK)
    assert condition.message.endswith("the fallback is served")
    assert [verdict.fallback for _, verdict in result.mappings] == [1]
    result, _ = told((P, P, P), fallback=FALLBACK)
    assert [verdict.fallback for _, verdict in result.mappings] == [0]


def test_that_somebody_rests_is_told():
    result, condition = told((P, P, P), (P, C, P), health={"holdDown": "30s"})
    assert condition.status is Status.TRUE
    assert condition.message == (
        "1 of 2 instances of my-web-server are served; 1 more must stay healthy for "
        "health.holdDown first"
    )
    assert result.again == NOW + 30


def test_weights_of_a_slow_start_stay_within_what_nginx_takes():
    heavy = replace(instance("10.0.0.1"), weight=65535)
    light = replace(instance("10.0.0.2"), weight=65535)
    history = advance(before=(heavy,), history={}, now=(heavy, light), at=NOW)
    one = mapping(balancing={"slowStart": "1m"})
    result = planned(
        load_balancer=load_balancer(),
        mappings=[one],
        snapshot={
            query: Observation(instances=(heavy, light), history=history) for query in one.queries
        },
        now=NOW,
    )
    [upstream] = result.configuration.upstreams
    assert [endpoint.weight for endpoint in upstream.endpoints or ()] == [4, 1]


def test_a_slow_start_and_shares_of_several_backends_multiply():
    old, new = instance("10.0.0.1"), instance("10.0.0.2")
    one = mapping(
        backends=[{"service": "stable", "weight": 3}, {"service": "canary", "weight": 1}],
        balancing={"slowStart": "1m"},
    )
    stable, canary = sorted(one.queries, key=lambda query: query.service, reverse=True)
    history = advance(before=(old,), history={}, now=(old, new), at=NOW)
    result = planned(
        load_balancer=load_balancer(),
        mappings=[one],
        snapshot={
            stable: Observation(instances=(old, new), history=history),
            canary: Observation(instances=(instance("10.0.0.3"),)),
        },
        now=NOW,
    )
    [upstream] = result.configuration.upstreams
    shares = {item.address: item.weight for item in upstream.endpoints or ()}
    assert shares == {"10.0.0.1": 12, "10.0.0.2": 3, "10.0.0.3": 5}
