"""Decisions: which mapping is accepted, which instance is served, what people are told."""

from __future__ import annotations

from itertools import permutations

import pytest

from consul_nginx.model.consul import Health, Observation, ServiceQuery
from consul_nginx.model.verdict import Status
from unit.factories import instance, load_balancer, mapping, planned, selected

WEB = ServiceQuery(service="my-web-server")
ONE_INSTANCE = (instance(),)


def plan(*mappings, instances=ONE_INSTANCE, error=None, remembered=(), **spec):
    observation = Observation(
        instances=instances, error=error, failing_since=1795331400.0 if error else None
    )
    return planned(
        load_balancer=load_balancer(**spec),
        mappings=mappings,
        snapshot={WEB: observation},
        remembered={item.meta.uid: item for item in remembered},
    )


def verdicts(result):
    return {mapping.meta.ref.name: verdict for mapping, verdict in result.mappings}


def test_a_mapping_becomes_a_host_with_a_route_to_its_upstream():
    result = plan(mapping(hostnames=["shop.example"], path={"value": "/features"}))
    [listener] = result.configuration.listeners
    [host] = listener.hosts
    [upstream] = result.configuration.upstreams
    assert (listener.port, host.hostname) == (80, "shop.example")
    assert host.routes[0].path.value == "/features"
    assert host.routes[0].action.target.upstream == upstream.id
    assert [endpoint.address for endpoint in upstream.endpoints] == ["10.244.1.2"]


def test_mappings_of_one_consul_service_share_an_upstream():
    result = plan(mapping("a", hostnames=["a.example"]), mapping("b", hostnames=["b.example"]))
    assert len(result.configuration.upstreams) == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_two_mappings_for_one_host_and_path_the_older_wins_in_any_order(order):
    old = mapping("old", meta={"creationTimestamp": "2026-01-01T00:00:00Z"})
    new = mapping("new", meta={"creationTimestamp": "2026-02-01T00:00:00Z"})
    other = mapping("other", hostnames=["other.example"])
    result = plan(*[[old, new, other][index] for index in order])
    found = verdicts(result)
    assert found["old"].accepted.is_true
    assert found["other"].accepted.is_true
    assert found["new"].accepted.reason == "Conflicted"
    assert "shop/old" in found["new"].accepted.message


def test_mappings_of_equal_age_are_decided_by_name():
    found = verdicts(plan(mapping("b"), mapping("a")))
    assert found["a"].accepted.is_true
    assert not found["b"].accepted.is_true


def test_a_mapping_rejected_for_one_host_claims_none_of_its_others():
    old = mapping("a", hostnames=["one.example"])
    loser = mapping("b", hostnames=["one.example", "two.example"])
    third = mapping("c", hostnames=["two.example"])
    assert verdicts(plan(old, loser, third))["c"].accepted.is_true


def test_an_unknown_listener_is_named_with_the_ones_there_are():
    verdict = verdicts(plan(mapping(listener="htp"), mapping("fine")))
    assert verdict["web"].accepted.reason == "NoMatchingListener"
    assert "'htp'" in verdict["web"].accepted.message
    assert "it has: http" in verdict["web"].accepted.message
    assert verdict["fine"].accepted.is_true


def test_unknown_is_not_empty():
    result = plan(mapping(), instances=None)
    assert result.configuration.upstreams[0].endpoints is None
    assert verdicts(result)["web"].resolved.status is Status.UNKNOWN


def test_consul_unreachable_keeps_the_endpoints_and_is_said():
    result = plan(mapping(), error="connection refused")
    assert len(result.configuration.upstreams[0].endpoints) == 1
    resolved = verdicts(result)["web"].resolved
    assert (resolved.status, resolved.reason) == (Status.UNKNOWN, "ConsulUnreachable")
    assert "nginx keeps the endpoints it has" in resolved.message


@pytest.mark.parametrize(
    ("instances", "reason"),
    [((), "ServiceNotFound"), ((instance(health=Health.CRITICAL),), "NoHealthyEndpoints")],
)
def test_a_service_without_a_healthy_instance_is_accepted_but_not_resolved(instances, reason):
    verdict = verdicts(plan(mapping(), instances=instances))["web"]
    assert verdict.accepted.is_true
    assert (verdict.resolved.status, verdict.resolved.reason) == (Status.FALSE, reason)


@pytest.mark.parametrize("health", [Health.WARNING, Health.CRITICAL, Health.MAINTENANCE])
def test_only_passing_instances_are_served(health):
    selection = selected([instance("10.0.0.1"), instance("10.0.0.2", health=health)])
    assert [endpoint.address for endpoint in selection.endpoints] == ["10.0.0.1"]
    assert selection.total == 2


def test_an_address_registered_twice_is_served_once():
    assert len(selected([instance(), instance()]).endpoints) == 1


def routes(result):
    """Hosts and paths that are served."""
    return {
        (host.hostname, str(route.path))
        for listener in result.configuration.listeners
        for host in listener.hosts
        for route in host.routes
    }


SHOP = mapping(hostnames=["shop.example"])
TYPO = mapping(hostnames=["new.example"], listener="htp", meta={"generation": 2})


def test_a_rejected_edit_leaves_the_accepted_form_served():
    result = plan(TYPO, remembered=[SHOP])
    assert routes(result) == {("shop.example", "/")}
    verdict = verdicts(result)["web"]
    assert verdict.accepted.reason == "NoMatchingListener"
    assert verdict.accepted.message.endswith("; generation 1, accepted last, is served on")
    assert verdict.selection is not None


def test_a_mapping_that_became_invalid_leaves_its_accepted_form_served():
    result = plan(remembered=[SHOP])
    assert routes(result) == {("shop.example", "/")}
    assert set(result.stand_ins) == {"uid-web"}


def test_an_accepted_edit_replaces_what_is_remembered():
    result = plan(mapping(hostnames=["new.example"]), remembered=[SHOP])
    assert routes(result) == {("new.example", "/")}
    assert not result.stand_ins


def test_what_stands_in_keeps_its_host_and_path_against_a_newer_mapping():
    newer = mapping("newer", hostnames=["shop.example"], meta={"creationTimestamp": "2027"})
    result = plan(newer, TYPO, remembered=[SHOP])
    assert verdicts(result)["newer"].accepted.reason == "Conflicted"
    assert len(result.stand_ins) == 1


def test_what_stands_in_gives_way_to_an_older_mapping():
    older = mapping("older", hostnames=["shop.example"], meta={"creationTimestamp": "2025"})
    result = plan(older, TYPO, remembered=[SHOP])
    assert verdicts(result)["older"].accepted.is_true
    assert not result.stand_ins
    assert "served on" not in verdicts(result)["web"].accepted.message


def test_what_stands_in_goes_with_its_listener():
    result = plan(TYPO, remembered=[SHOP], listeners=[{"name": "other", "port": 81}])
    assert not result.stand_ins


TCP = [{"name": "http", "port": 80}, {"name": "thrift", "protocol": "TCP", "port": 25000}]


def test_a_tcp_listener_sends_everything_to_one_mapping():
    result = plan(mapping(listener="thrift"), listeners=TCP)
    [stream] = result.configuration.streams
    [upstream] = result.configuration.upstreams
    [server] = stream.servers
    assert (stream.port, stream.udp, server.upstream) == (25000, False, upstream.id)


def test_a_second_mapping_of_a_tcp_listener_is_rejected_and_names_the_first():
    found = verdicts(
        plan(mapping("b", listener="thrift"), mapping("a", listener="thrift"), listeners=TCP)
    )
    assert found["b"].accepted.reason == "Conflicted"
    assert (
        "listener thrift belongs to the older ServiceMapping shop/a" in found["b"].accepted.message
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"hostnames": ["shop.example"]}, "spec.hostnames"), ({"path": {"value": "/a"}}, "spec.path")],
)
def test_host_names_and_paths_are_refused_where_nobody_can_see_them(spec, field):
    [verdict] = verdicts(plan(mapping(listener="thrift", **spec), listeners=TCP)).values()
    assert verdict.accepted.reason == "UnsupportedValue"
    assert verdict.accepted.message.startswith(field)
    assert "speaks TCP" in verdict.accepted.message


def test_one_service_behind_http_and_tcp_is_two_upstreams():
    result = plan(mapping("a"), mapping("b", listener="thrift"), listeners=TCP)
    assert len({upstream.id for upstream in result.configuration.upstreams}) == 2


def test_without_endpoints_people_read_what_a_tcp_client_sees():
    [verdict] = verdicts(plan(mapping(listener="thrift"), instances=(), listeners=TCP)).values()
    assert verdict.resolved.message.endswith("nginx closes connections at once")
