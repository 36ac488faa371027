"""Who may map what, and which Consul is asked with which token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import APP, group_of
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.plan.upstreams import upstream_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.permitted.conftest import Permitted
    from cluster.support.release import Release
    from cluster.support.shop import Shop

SOON_S = 10.0
# A Consul that refuses, and a Secret that is missing, are tried again every 30 s.
HEALED_S = 35.0
NOT_ALLOWED = "http://consul.evil.example:8500"
KINDS = ("nlb", "smap")
LISTENERS = [{"name": "http", "port": 80}, {"name": "thrift", "protocol": "TCP", "port": 25000}]


@dataclass(frozen=True, kw_only=True)
class Tenants:
    """Three tenants, and the Consuls that they may name."""

    apple: Tenant
    berry: Tenant
    plum: Tenant
    consuls: Permitted


@pytest.fixture(scope="module")
def tenants(cluster: Cluster, permitted: Permitted) -> Iterator[Tenants]:
    """Apple and berry may map hosts of their own only."""
    with tenant(cluster=cluster, namespace="berry") as berry:
        yield Tenants(apple=permitted.apple, berry=berry, plum=permitted.plum, consuls=permitted)


def map_host(found: Tenant, name: str, host: str | None, **spec: Any) -> None:
    """Map a host to the shop's application, by the LoadBalancer ``edge`` of apple."""
    found.mapping(
        name,
        **{
            "loadBalancerRef": {"name": "edge", "namespace": "apple"},
            "listener": "http",
            "hostnames": [host] if host else [],
            "backends": [{"service": APP}],
            **spec,
        },
    )


def apply_edge(tenants: Tenants, *, http: dict[str, Any] | None = None, **allowed: Any) -> None:
    """``http``: more of that listener; ``allowed``: whose mappings are taken."""
    [first, *others] = LISTENERS
    tenants.apple.load_balancer(
        "edge",
        listeners=[{**first, **(http or {})}, *others],
        deployment={"replicas": 1},
        allowedNamespaces=allowed,
    )


@pytest.fixture(scope="module")
def edge(tenants: Tenants) -> str:
    """Address of apple's LoadBalancer, once it answers with the application's 404."""
    apply_edge(tenants)
    map_host(tenants.apple, "apple", "www.apple.example")
    tenants.apple.wait_true("nlb/edge", "Ready")
    tenants.apple.wait_true("smap/apple", "Programmed")
    address = f"{tenants.apple.get('service', 'edge')['spec']['clusterIP']}:80"
    wait_for(lambda: status(address, "www.apple.example") == 200, what="the Service answers")
    return address


def status(address: str, host: str) -> int:
    try:
        return ask(address=address, host=host, path="/features")[0]
    except OSError:
        return 0


@dataclass(frozen=True, kw_only=True)
class Late:
    """What mappings said when no Secret was there, or could not be read."""

    missing: dict[str, Any]
    unreadable: dict[str, Any]


@pytest.fixture(scope="module")
def late(tenants: Tenants) -> Late:
    """The Secret of plum's is there a moment after Consul was to be asked; others wait for it."""
    consul = tenants.consuls.late
    consul.has("10.1.2.3:8080")
    for found in (tenants.plum, tenants.berry):
        own_consul(found, "late", address=consul.address, tokenSecretRef={"name": "late"})
    missing, unreadable = (
        found.wait_condition("smap/late", "ResolvedRefs", "ConsulRefused")
        for found in (tenants.plum, tenants.berry)
    )
    tenants.plum.secret("late", token="at-last")
    tenants.berry.kubectl("delete", "nlb/late", "smap/late")
    return Late(missing=missing, unreadable=unreadable)


def test_a_missing_secret_is_told_with_the_way_out(late: Late):
    assert late.missing["status"] == late.unreadable["status"] == "False"
    assert "spec.consul.tokenSecretRef: Secret plum/late does not exist" in late.missing["message"]
    assert "spec.consul.tokenSecretRef: Secret berry/late" in late.unreadable["message"]
    assert "the chart's secrets.namespaces has to have berry" in late.unreadable["message"]


def test_what_scripts_wait_for(shop: Shop, tenants: Tenants, edge: str):
    """``kubectl wait`` with a condition and with a JSON path."""
    tenants.apple.wait_true("nlb/edge", "Ready")
    tenants.apple.wait_true("smap/apple", "Programmed")
    for what, path in (
        ("nlb/edge", "{.status.dataPlane.summary}=1/1"),
        ("smap/apple", "{.status.endpoints.healthy}=3"),
    ):
        tenants.apple.kubectl("wait", what, f"--for=jsonpath={path}", "--timeout=20s")


def test_mappings_of_another_namespace_come_and_go_with_its_labels(
    cluster: Cluster, tenants: Tenants, edge: str
):
    berry, host = tenants.berry, "www.berry.example"
    map_host(berry, "www", host)
    found = berry.wait_condition("smap/www", "Accepted", "NotAllowedByLoadBalancer")
    assert "apple/edge takes mappings of its own namespace only" in found["message"]
    assert status(edge, host) == 404

    apply_edge(tenants, **{"from": "All"})
    wait_for(lambda: status(edge, host) == 200, what="with All it is served")
    berry.wait_true("smap/www", "Programmed")

    apply_edge(tenants, **{"from": "Selector", "selector": {"matchLabels": {"fruit": "red"}}})
    found = berry.wait_condition("smap/www", "Accepted", "NotAllowedByLoadBalancer")
    assert "takes mappings of namespaces with the labels fruit=red" in found["message"]
    wait_for(lambda: status(edge, host) == 404, what="it is withdrawn")

    cluster.kubectl("label", "namespace", "berry", "fruit=red")
    wait_for(lambda: status(edge, host) == 200, what="the label lets it in", seconds=SOON_S)
    cluster.kubectl("label", "namespace", "berry", "fruit-")
    wait_for(lambda: status(edge, host) == 404, what="it goes with it", seconds=SOON_S)
    berry.wait_condition("smap/www", "Accepted", "NotAllowedByLoadBalancer")

    # A listener's own say takes the place of the LoadBalancer's, and follows labels as well.
    green = {"from": "Selector", "selector": {"matchLabels": {"fruit": "green"}}}
    apply_edge(tenants, http={"allowedNamespaces": green}, **{"from": "All"})
    found = berry.wait_condition("smap/www", "Accepted", "NotAllowedByListener")
    assert "listener http of LoadBalancer apple/edge takes mappings of" in found["message"]
    cluster.kubectl("label", "namespace", "berry", "fruit=green")
    wait_for(lambda: status(edge, host) == 200, what="the listener lets it in", seconds=SOON_S)
    cluster.kubectl("label", "namespace", "berry", "fruit-")
    berry.kubectl("delete", "smap/www")


def test_the_policy_says_what_it_allows_and_age_does_not_help(tenants: Tenants, edge: str):
    apply_edge(tenants, **{"from": "All"})
    apple, berry = tenants.apple, tenants.berry
    map_host(berry, "theft", "new.apple.example")
    map_host(berry, "catch-all", None)
    map_host(berry, "port", None, listener="thrift")
    map_host(apple, "service", "x.apple.example", backends=[{"service": "test-server"}])
    may = {
        "berry": "may map hosts *.berry.example with services my-*, test-*",
        "apple": f"may map hosts *.apple.example with services {APP}",
    }
    for found, name, wanted in (
        (berry, "theft", f"map new.apple.example to {APP}"),
        (berry, "catch-all", f"map * to {APP}"),
        (berry, "port", f"map * to {APP}"),
        (apple, "service", "map x.apple.example to test-server"),
    ):
        message = found.wait_condition(f"smap/{name}", "Accepted", "NotPermitted")["message"]
        assert wanted in message
        assert may[found.namespace] in message

    map_host(apple, "younger", "new.apple.example")
    apple.wait_true("smap/younger", "Programmed")
    assert status(edge, "new.apple.example") == 200
    assert status(edge, "nobody.example") == 404
    for found in (apple, berry):
        found.kubectl("delete", "smap", "--all")
    apply_edge(tenants)


def backends(found: Tenant, load_balancer: str) -> set[str]:
    """Addresses of the application's instances in the bundle that nginx is given."""
    name = f"endpoints-{upstream_id(group_of(APP))}.conf"
    which = f"metadata.name={load_balancer}-config"
    maps = found.cluster.read.all("configmap", namespace=found.namespace, fields=which)
    lines = [line for item in maps for line in item["data"].get(name, "").splitlines()]
    return {line.split()[1].rstrip(";") for line in lines if ":8080" in line}


def own_consul(found: Tenant, name: str, replicas: int = 0, **consul: Any) -> None:
    """A LoadBalancer with a Consul of its own, and a mapping."""
    found.load_balancer(
        name, listeners=[LISTENERS[0]], deployment={"replicas": replicas}, consul=consul
    )
    map_host(found, name, f"{name}.{found.namespace}.example", loadBalancerRef={"name": name})


def test_a_consul_that_is_not_allowed_is_refused_and_never_asked(tenants: Tenants):
    own_consul(tenants.apple, "evil", address=NOT_ALLOWED)
    found = tenants.apple.wait_condition("nlb/evil", "Accepted", "ConsulAddressNotAllowed")
    assert f"spec.consul.address: {NOT_ALLOWED}" in found["message"]
    assert f"allowed: {', '.join(sorted(tenants.consuls.addresses()))}" in found["message"]
    assert "policy.consulAddresses" in found["message"]
    assert tenants.apple.condition("nlb", "evil", "Ready")["status"] == "False"
    assert tenants.apple.names("deployments,configmaps") == [
        "configmap/edge-config",
        "configmap/edge-state",
        "configmap/kube-root-ca.crt",
        "deployment.apps/edge",
    ]
    tenants.apple.kubectl("delete", "nlb/evil", "smap/evil")


def test_each_consul_gets_the_token_that_is_meant_for_it_and_no_other(
    release: Release, shop: Shop, tenants: Tenants
):
    instances = {f"{pod['status']['podIP']}:8080" for pod in shop.app_pods()}
    for consul in (tenants.consuls.with_token, tenants.consuls.without_token):
        consul.has(*instances)
    tenants.apple.secret("mine", secret="apples-token")
    own_consul(
        tenants.apple,
        "mine",
        address=tenants.consuls.with_token.address,
        tokenSecretRef={"name": "mine", "key": "secret"},
    )
    own_consul(tenants.apple, "plain", address=tenants.consuls.without_token.address)
    own_consul(tenants.apple, "agent", address=tenants.consuls.agent)
    for name in ("mine", "plain", "agent"):
        wait_for(
            lambda n=name: backends(tenants.apple, n) == instances,
            what=f"{name} has the instances of its Consul",
        )
        wait_for(
            lambda n=name: (
                tenants.apple.condition("smap", n, "ResolvedRefs").get("status") == "True"
            ),
            what=f"{name} says so",
        )
    # A change is a second question, of the watch this time.
    some = set(sorted(instances)[:2])
    for consul in (tenants.consuls.with_token, tenants.consuls.without_token):
        consul.has(*some)
    for name in ("mine", "plain"):
        wait_for(lambda n=name: backends(tenants.apple, n) == some, what=f"{name} follows")
    assert backends(tenants.apple, "agent") == instances
    assert set(tenants.consuls.with_token.tokens) == {"apples-token"}
    assert set(tenants.consuls.without_token.tokens) == {None}
    for consul in (tenants.consuls.with_token, tenants.consuls.without_token):
        assert set(consul.paths) == {f"/v1/health/service/{APP}"}
    env = release.operator_pod()["spec"]["containers"][0]["env"]
    assert "CONSUL_NGINX_CONSUL_TOKEN" in {item["name"] for item in env}, "there was one to leak"
    names = ("mine", "plain", "agent")
    tenants.apple.kubectl("delete", *(f"{kind}/{name}" for name in names for kind in KINDS))


def test_a_secret_that_was_missing_is_found_by_itself(tenants: Tenants, late: Late):
    wait_for(
        lambda: backends(tenants.plum, "late") == {"10.1.2.3:8080"},
        what="the Secret is found",
        seconds=HEALED_S,
    )
    tenants.plum.wait_true("smap/late", "ResolvedRefs")
    assert tenants.consuls.late.tokens[-1] == "at-last"


def test_a_rejected_edit_of_a_load_balancer_leaves_the_accepted_form_alive(
    cluster: Cluster, release: Release, shop: Shop, tenants: Tenants
):
    consul, one, two = (
        tenants.consuls.without_token,
        *sorted(f"{pod['status']['podIP']}:8080" for pod in shop.app_pods())[:2],
    )
    consul.has(one)
    own_consul(tenants.apple, "edited", replicas=1, address=consul.address)
    tenants.apple.wait_true("nlb/edited", "Ready")
    tenants.apple.wait_true("smap/edited", "Programmed")
    accepted = tenants.apple.get("nlb", "edited")["metadata"]["generation"]

    own_consul(tenants.apple, "edited", replicas=1, address=NOT_ALLOWED)
    found = tenants.apple.wait_condition("nlb/edited", "Accepted", "ConsulAddressNotAllowed")
    served_on = f"generation {accepted}, accepted last, is served on"
    assert served_on in found["message"]
    consul.has(one, two)
    wait_for(lambda: backends(tenants.apple, "edited") == {one, two}, what="endpoints move")

    old = release.operator_pod()["metadata"]["name"]
    selector = "--selector=app.kubernetes.io/name=consul-nginx-operator"
    cluster.kubectl("delete", "pods", "-n", OPERATOR_NAMESPACE, selector, "--now")
    release.wait_for_another_operator(old)
    consul.has(two)
    wait_for(lambda: backends(tenants.apple, "edited") == {two}, what="they move on")
    found = tenants.apple.wait_condition("nlb/edited", "Accepted", "ConsulAddressNotAllowed")
    assert served_on in found["message"]
    address = f"{tenants.apple.get('service', 'edited')['spec']['clusterIP']}:80"
    assert status(address, "edited.apple.example") == 200
