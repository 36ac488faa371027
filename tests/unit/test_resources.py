"""What people may write, and what they are told when it can't be used."""

from __future__ import annotations

import pytest

from consul_nginx.model.consul import ServiceQuery
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.durations import seconds
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import load_balancer, load_balancer_raw, mapping, mapping_raw


def test_a_minimal_load_balancer_has_two_pods_a_cluster_ip_and_a_keepalive_grace_of_2_s():
    parsed = load_balancer()
    assert parsed.pods.replicas == 2
    assert parsed.service.type == "ClusterIP"
    assert parsed.reload.keepalive_grace == 2


def test_a_minimal_mapping_takes_every_host_and_path():
    parsed = mapping()
    assert parsed.hostnames == ()
    assert parsed.path.value == "/"
    assert parsed.queries[0] == ServiceQuery(service="my-web-server")


def test_a_trailing_slash_of_a_path_prefix_does_not_matter():
    assert mapping(path={"value": "/features/"}).path.value == "/features"


def test_the_order_of_tags_and_host_names_does_not_matter():
    one = mapping(
        hostnames=["b.example", "a.example"], backends=[{"service": "x", "tags": ["b", "a"]}]
    )
    two = mapping(
        hostnames=["a.example", "b.example"], backends=[{"service": "x", "tags": ["a", "b"]}]
    )
    assert one == two


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hostnames": ["shop.example;"]}, "spec.hostnames[0]"),
        ({"hostnames": ["shop.example\n"]}, "spec.hostnames[0]"),
        ({"hostnames": ["Shop.example"]}, "spec.hostnames[0]"),
        ({"path": {"value": "features"}}, "spec.path.value"),
        ({"path": {"value": "/a b"}}, "spec.path.value"),
        ({"path": {"value": "/$host"}}, "spec.path.value"),
        ({"path": {"type": "Regex", "value": "/"}}, "spec.path.type"),
        ({"backends": [{"service": "../../kv/secret"}]}, "spec.backends[0].service"),
        ({"backends": [{"service": "a", "tags": ['x"; }']}]}, "spec.backends[0].tags[0]"),
        ({"backends": []}, "spec.backends"),
        ({"backends": [{"service": "a", "filter": "Service.Port = 1"}]}, "spec.backends[0].filter"),
        ({"listener": "HTTP"}, "spec.listener"),
        ({"snippet": "return 200;"}, "spec.snippet"),
    ],
)
def test_bad_input_is_refused_with_field_and_value(spec, field):
    parsed = parse_service_mapping(mapping_raw(**spec))
    assert isinstance(parsed, Invalid)
    assert field in [problem.field for problem in parsed.problems]


def test_a_filter_that_cannot_be_read_is_told_from_where_on():
    backends = [{"service": "web", "filter": 'Service.Port == 80 && "v2" in Service.Tags'}]
    parsed = parse_service_mapping(mapping_raw(backends=backends))
    assert isinstance(parsed, Invalid)
    assert "can't be read from '&& \"v2\" in Service.Tags' on" in str(parsed.problems[0])


def test_two_listeners_on_one_port_are_refused():
    listeners = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
    parsed = parse_load_balancer(load_balancer_raw(listeners=listeners))
    assert isinstance(parsed, Invalid)
    assert "each port can be used by one listener only" in str(parsed.problems[0])


def test_the_agents_port_is_refused():
    parsed = parse_load_balancer(load_balancer_raw(listeners=[{"name": "a", "port": 9901}]))
    assert isinstance(parsed, Invalid)
    assert "9901" in str(parsed.problems[0])


def test_a_grace_that_the_shutdown_would_cut_short_is_refused():
    parsed = parse_load_balancer(load_balancer_raw(reload={"keepaliveGrace": "60s"}))
    assert isinstance(parsed, Invalid)
    assert "keepaliveGrace must be less than shutdownTimeout" in str(parsed.problems[0])


def test_a_long_value_is_shortened_in_the_message():
    parsed = parse_service_mapping(mapping_raw(hostnames=["x" * 10_000]))
    assert isinstance(parsed, Invalid)
    assert len(str(parsed.problems[0])) < 500


def test_resources_are_handed_on_as_they_are_written():
    resources = {"requests": {"cpu": "500m"}, "limits": {"memory": "128Mi", "cpu": 2}}
    assert load_balancer(deployment={"resources": resources}).pods.resources == resources
    assert load_balancer().pods.resources == {}


@pytest.mark.parametrize("quantity", ["lots", "1Gib", "", "1 Gi", "--1"])
def test_a_quantity_that_kubernetes_has_not_is_refused(quantity):
    resources = {"limits": {"memory": quantity}}
    parsed = parse_load_balancer(load_balancer_raw(deployment={"resources": resources}))
    assert isinstance(parsed, Invalid)


def test_tcp_and_udp_count_their_ports_apart_and_http_is_tcp():
    dns = [
        {"name": "a", "protocol": "TCP", "port": 53},
        {"name": "b", "protocol": "UDP", "port": 53},
    ]
    assert len(load_balancer(listeners=dns).listeners) == 2
    web = [{"name": "a", "protocol": "TCP", "port": 80}, {"name": "b", "port": 80}]
    parsed = parse_load_balancer(load_balancer_raw(listeners=web))
    assert isinstance(parsed, Invalid)
    assert "each port can be used by one listener only" in str(parsed.problems[0])


@pytest.mark.parametrize(
    ("text", "expected"), [("2s", 2), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("0s", 0)]
)
def test_durations_are_written_as_in_the_gateway_api(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["2", "2 s", "-1s", "1d", "2s\n", "1.5s", "61s", "٢s"])
def test_what_is_no_duration_or_out_of_bounds_is_refused_with_field_and_value(text):
    parsed = parse_load_balancer(load_balancer_raw(reload={"keepaliveGrace": text}))
    assert isinstance(parsed, Invalid)
    assert parsed.problems[0].field == "spec.reload.keepaliveGrace"
    assert repr(text) in str(parsed.problems[0])


def test_a_token_without_an_address_of_ones_own_is_refused():
    """The operator's Consul is asked with the operator's token, and with no other."""
    consul = {"tokenSecretRef": {"name": "mine"}}
    parsed = parse_load_balancer(load_balancer_raw(consul=consul))
    assert isinstance(parsed, Invalid)
    assert "name that too" in str(parsed.problems[0])


def test_a_mapping_can_name_a_load_balancer_of_another_namespace():
    parsed = mapping(loadBalancerRef={"name": "edge", "namespace": "infra"})
    assert str(parsed.load_balancer) == "infra/edge"
