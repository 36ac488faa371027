"""Backends that a mapping needs beside its own are watched, told of and allowed like those."""

from __future__ import annotations

from typing import Any

import pytest

from consul_nginx.model.authorities import Authority, AuthorityKind
from consul_nginx.model.consul import ConsulSource, Health, Observation, ServiceQuery
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.policy import Policy, Rule
from consul_nginx.plan.authorities import authorities_of
from consul_nginx.plan.load_balancer import MappingVerdict, bound
from consul_nginx.plan.permissions import Permissions
from unit.factories import instance, load_balancer, mapping, planned

BESIDE: dict[str, dict[str, Any]] = {
    "mirror": {"backends": [{"service": "other"}]},
    "externalAuth": {"backends": [{"service": "other"}]},
}
OWN, OTHER = ServiceQuery(service="my-web-server"), ServiceQuery(service="other")
SEEN = Observation(instances=(instance(),))

pytestmark = pytest.mark.parametrize("field", sorted(BESIDE))


def needing(field: str, **spec: Any) -> ServiceMapping:
    return mapping(**{field: BESIDE[field], **spec})


def verdict(
    field: str,
    *,
    seen: dict[ServiceQuery, Observation] | None = None,
    listener: dict[str, Any] | None = None,
    permissions: Permissions | None = None,
    **spec: Any,
) -> MappingVerdict:
    edge = load_balancer(listeners=[{"name": "http", "port": 80, **(listener or {})}])
    plan = planned(
        load_balancer=edge,
        mappings=[needing(field, **spec)],
        snapshot={OWN: SEEN, OTHER: SEEN} if seen is None else seen,
        permissions=permissions,
    )
    [(_, found)] = plan.mappings
    return found


def test_consul_is_asked_for_them_where_the_load_balancer_says(field: str):
    edge = load_balancer(consul={"address": "http://consul.example:8500", "datacenter": "dc2"})
    queries = bound(mapping=needing(field), load_balancer=edge).queries
    assert [query.service for query in queries] == ["my-web-server", "other"]
    assert {query.datacenter for query in queries} == {"dc2"}
    assert {query.source for query in queries} == {
        ConsulSource(address="http://consul.example:8500")
    }


def test_they_get_an_upstream(field: str):
    plan = planned(
        load_balancer=load_balancer(),
        mappings=[needing(field)],
        snapshot={OWN: SEEN, OTHER: Observation(instances=(instance("10.244.9.9"),))},
    )
    addresses = {
        item.address for upstream in plan.configuration.upstreams for item in upstream.endpoints
    }
    assert addresses == {"10.244.1.2", "10.244.9.9"}


def test_what_is_amiss_with_them_is_told_by_name(field: str):
    assert verdict(field).resolved.is_true
    missing = verdict(field, seen={OWN: SEEN, OTHER: Observation(instances=())}).resolved
    assert (missing.status, missing.reason) == ("False", "ServiceNotFound")
    assert missing.message.startswith(f"spec.{field}.backends[0].service: Consul knows no instance")
    ill = Observation(instances=(instance(health=Health.CRITICAL),))
    failing = verdict(field, seen={OWN: SEEN, OTHER: ill}).resolved
    assert failing.reason == "NoHealthyEndpoints"
    assert failing.message.startswith(f"spec.{field}: none of 1 instances of other is passing")
    unknown = verdict(field, seen={OWN: SEEN}).resolved
    assert (unknown.status, unknown.reason) == ("Unknown", "Pending")
    both = verdict(field, seen={OWN: Observation(instances=()), OTHER: ill}).resolved
    assert both.reason == "ServiceNotFound"
    assert "spec.backends[0].service: " in both.message
    assert f"spec.{field}: none of 1" in both.message


def test_the_instances_that_are_counted_are_those_that_get_the_requests(field: str):
    found = verdict(field, seen={OWN: SEEN, OTHER: Observation(instances=())})
    assert found.selection is not None
    assert (found.selection.healthy, found.selection.total) == (1, 1)


def test_a_listener_that_does_not_take_their_service_refuses_the_mapping(field: str):
    """Else whoever writes a mapping had a way to services that its owner did not mean."""
    found = verdict(field, listener={"allowedServices": ["my-*"]}).accepted
    assert (found.reason, found.is_true) == ("NotAllowedByListener", False)
    assert found.message.startswith(f"spec.{field}.backends: other: listener http")
    assert verdict(field, listener={"allowedServices": ["my-*", "other"]}).accepted.is_true


def test_a_policy_that_does_not_allow_their_service_refuses_the_mapping(field: str):
    rule = Rule(namespaces=("*",), hostnames=("*",), services=("my-*",))
    found = verdict(field, permissions=Permissions(policy=Policy(rules=(rule,)))).accepted
    assert found.reason == "NotPermitted"
    assert f"spec.{field}.backends" in found.message
    assert "my-web-server, other" in found.message
    both = Rule(namespaces=("*",), hostnames=("*",), services=("my-*", "other"))
    assert verdict(field, permissions=Permissions(policy=Policy(rules=(both,)))).accepted.is_true


def test_consul_is_not_asked_for_them_while_the_mapping_is_refused(field: str):
    plan = planned(
        load_balancer=load_balancer(
            listeners=[{"name": "http", "port": 80, "allowedServices": ["my-*"]}]
        ),
        mappings=[needing(field)],
        snapshot={},
    )
    assert plan.configuration.upstreams == ()


def test_a_listener_without_requests_has_none_of_it(field: str):
    found = verdict(field, listener={"protocol": "TCP"}).accepted
    assert found.reason == "UnsupportedValue"
    assert f"spec.{field}" in found.message
    assert "listener http speaks TCP" in found.message


def test_their_certificates_are_verified_by_what_the_mapping_names(field: str):
    tls = {
        "backendProtocol": "HTTPS",
        "backendTls": {"caCertificateRefs": [{"name": "ca"}], "serverName": "other.internal"},
    }
    spec = tls if field == "mirror" else {field: {**BESIDE[field], **tls}}
    item = needing(field, **spec)
    authority = Authority(kind=AuthorityKind.SECRET, namespace="shop", name="ca")
    assert authorities_of(mappings=[item]) == (authority,)
    plan = planned(
        load_balancer=load_balancer(), mappings=[item], snapshot={OWN: SEEN, OTHER: SEEN}
    )
    [(_, found)] = plan.mappings
    place = "spec" if field == "mirror" else f"spec.{field}"
    assert found.resolved.reason == "InvalidCertificateRef"
    assert found.resolved.message.count("caCertificateRefs[0].name") == 1
    assert found.resolved.message.startswith(f"{place}.backendTls.caCertificateRefs[0].name")
