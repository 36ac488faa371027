"""Shares of several backends, and names of upstreams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.consul import Health, Observation, ServiceQuery
from consul_nginx.model.mapping import Endpoint
from consul_nginx.model.verdict import Status
from consul_nginx.plan.endpoints import MAX_WEIGHT
from consul_nginx.plan.upstreams import upstream_id
from unit.factories import instance, load_balancer, mapping, planned

STABLE, CANARY = ServiceQuery(service="stable"), ServiceQuery(service="canary")
BOTH = [{"service": "stable", "weight": 9}, {"service": "canary", "weight": 1}]


def planned_with(spec, **instances):
    snapshot = {
        ServiceQuery(service=name): Observation(instances=found)
        for name, found in instances.items()
    }
    return planned(load_balancer=load_balancer(), mappings=[mapping(**spec)], snapshot=snapshot)


def endpoints(spec, **instances):
    [upstream] = planned_with(spec, **instances).configuration.upstreams
    if upstream.endpoints is None:
        return None
    return {endpoint.address: endpoint.weight for endpoint in upstream.endpoints}


def some(count, *, first=1, weight=1):
    return tuple(instance(f"10.0.0.{first + number}", weight=weight) for number in range(count))


def test_shares_do_not_depend_on_how_many_instances_there_are():
    found = endpoints({"backends": BOTH}, stable=some(3), canary=some(1, first=9))
    assert found == {"10.0.0.1": 3, "10.0.0.2": 3, "10.0.0.3": 3, "10.0.0.9": 1}


def test_weights_of_instances_count_within_their_share():
    stable = (*some(1, weight=3), *some(1, first=2))
    found = endpoints({"backends": BOTH}, stable=stable, canary=some(1, first=9))
    assert found == {"10.0.0.1": 27, "10.0.0.2": 9, "10.0.0.9": 4}


def test_a_backend_without_an_instance_leaves_its_share_to_the_others():
    assert endpoints({"backends": BOTH}, stable=some(2), canary=()) == {
        "10.0.0.1": 1,
        "10.0.0.2": 1,
    }


def test_a_backend_of_no_weight_is_not_served_and_nobody_waits_for_it():
    backends = [{"service": "stable"}, {"service": "canary", "weight": 0}]
    assert endpoints({"backends": backends}, stable=some(1)) == {"10.0.0.1": 1}


def test_an_unknown_backend_keeps_everything_as_it_is():
    assert endpoints({"backends": BOTH}, stable=some(1)) is None


def test_the_fallback_is_served_when_nobody_else_can():
    fallback = [{"address": "192.0.2.1", "port": 80}]
    spec = {"backends": BOTH, "fallback": fallback}
    sick = (instance("10.0.0.1", health=Health.CRITICAL),)
    assert endpoints(spec, stable=sick, canary=()) == {"192.0.2.1": 1}
    assert endpoints(spec, stable=sick, canary=some(1)) == {"10.0.0.1": 1}


def test_one_instance_of_two_backends_has_the_shares_of_both():
    assert endpoints({"backends": BOTH}, stable=some(2), canary=some(1)) == {
        "10.0.0.1": 11,
        "10.0.0.2": 9,
    }


def test_people_read_of_every_backend():
    plan = planned_with({"backends": BOTH}, stable=some(2), canary=())
    [(_, verdict)] = plan.mappings
    assert verdict.resolved.status is Status.FALSE
    assert "spec.backends: Consul knows no instance of canary" in (verdict.resolved.message)
    assert verdict.resolved.message.endswith("; the other backends are served")
    assert (len(verdict.selection.endpoints), verdict.selection.total) == (2, 2)


@given(
    weights=st.lists(st.integers(1, 1000), min_size=2, max_size=4),
    counts=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    each=st.integers(1, MAX_WEIGHT),
)
def test_shares_are_those_of_the_weights(weights, counts, each):
    backends = [{"service": f"s{n}", "weight": weight} for n, weight in enumerate(weights)]
    instances = {
        f"s{n}": tuple(
            instance(f"10.{n}.0.{number + 1}", weight=each if number else 1)
            for number in range(counts[n])
        )
        for n in range(len(weights))
    }
    found = endpoints({"backends": backends}, **instances)
    assert all(1 <= weight <= MAX_WEIGHT for weight in found.values())
    if each == 1:
        total = sum(found.values())
        for n, weight in enumerate(weights):
            share = sum(found[item.address] for item in instances[f"s{n}"]) / total
            assert abs(share - weight / sum(weights)) < 0.01


def test_mappings_that_say_the_same_share_an_upstream():
    one = mapping("a", backends=BOTH)
    assert upstream_id(one.group) == upstream_id(mapping("b", backends=BOTH[::-1]).group)
    assert upstream_id(one.group) != upstream_id(
        mapping(backends=BOTH, balancing={"algorithm": "RandomTwo"}).group
    )


def test_an_endpoint_of_a_fallback_is_written_in_one_form():
    found = mapping(fallback=[{"address": "2001:DB8:0::1", "port": 80}])
    assert found.group.fallback == (Endpoint(address="2001:db8::1", port=80),)


REFUSED = Observation(error="HTTP 400 no such thing", failing_since=1795331400.0, refused=True)
SILENT = Observation(error="connection refused", failing_since=1795331400.0)


def observed(spec, **found):
    """Upstream and verdict for these observations of services."""
    plan = planned(
        load_balancer=load_balancer(),
        mappings=[mapping(**spec)],
        snapshot={ServiceQuery(service=name): seen for name, seen in found.items()},
    )
    [upstream], [(_, verdict)] = plan.configuration.upstreams, plan.mappings
    return upstream, verdict


def test_what_consul_refuses_to_tell_of_has_no_instances_and_the_others_are_served():
    known = Observation(instances=some(2))
    upstream, verdict = observed({"backends": BOTH}, stable=known, canary=REFUSED)
    assert [item.address for item in upstream.endpoints] == ["10.0.0.1", "10.0.0.2"]
    assert (verdict.selection.healthy, verdict.selection.total) == (2, 2)
    told = verdict.resolved
    assert (told.status, told.reason) == (Status.FALSE, "ConsulRefused")
    assert told.message == (
        "spec.backends: Consul refuses the query for canary since 2026-11-22T07:10:00Z: HTTP 400 "
        "no such thing; it never answered that; it counts as one without instances; correct the "
        "backend, or what the token may read; the other backends are served"
    )


def test_a_refusal_is_told_before_that_the_others_are_not_healthy():
    sick = Observation(instances=(instance(health=Health.CRITICAL),))
    for spec in ({}, {"health": {"minHealthy": 2}}):
        upstream, verdict = observed({"backends": BOTH, **spec}, stable=sick, canary=REFUSED)
        assert upstream.endpoints == ()
        assert verdict.resolved.reason == "ConsulRefused"


def test_when_what_is_not_refused_has_no_instance_the_fallback_is_served():
    spec = {"backends": BOTH, "fallback": [{"address": "192.0.2.1", "port": 80}]}
    upstream, _ = observed(spec, stable=Observation(instances=()), canary=REFUSED)
    assert [item.address for item in upstream.endpoints] == ["192.0.2.1"]


def test_what_consul_refuses_is_served_as_it_was_known_last():
    last = Observation(
        instances=some(1, first=9), error="HTTP 403 ACL not found", failing_since=1.0, refused=True
    )
    upstream, verdict = observed(
        {"backends": BOTH}, stable=Observation(instances=some(1)), canary=last
    )
    assert {item.address: item.weight for item in upstream.endpoints} == {
        "10.0.0.1": 9,
        "10.0.0.9": 1,
    }
    assert verdict.resolved.status is Status.FALSE
    assert "nginx keeps the endpoints it has" in verdict.resolved.message


def test_while_consul_is_silent_about_one_what_it_refuses_makes_nothing_known():
    spec = {"backends": [*BOTH, {"service": "third"}]}
    known = Observation(instances=some(1))
    upstream, verdict = observed(spec, stable=known, canary=REFUSED, third=SILENT)
    assert upstream.endpoints is None
    told = verdict.resolved
    assert (told.status, told.reason) == (Status.UNKNOWN, "ConsulUnreachable")
    assert told.message.endswith("nginx keeps what it has of this upstream, or nginx answers 503")


def test_when_all_is_refused_nginx_keeps_what_it_has():
    """A token that went bad with a new operator: what the one before was told is served on."""
    upstream, verdict = observed({"backends": BOTH}, stable=REFUSED, canary=REFUSED)
    assert upstream.endpoints is None
    assert (verdict.resolved.status, verdict.selection) == (Status.FALSE, None)


def test_a_refused_backend_of_no_weight_keeps_nobody_waiting():
    backends = [{"service": "stable"}, {"service": "canary", "weight": 0}]
    known = Observation(instances=some(1))
    upstream, verdict = observed({"backends": backends}, stable=known, canary=REFUSED)
    assert len(upstream.endpoints) == 1
    assert verdict.resolved.reason == "ConsulRefused"
