"""Bad input is refused where it is written, or named in a condition; the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.harness.report import HarnessError
from cluster.support.shop import HOST
from cluster.support.tenant import Tenant
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.model.registration import META_POD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

MAPPING = """
apiVersion: consul-nginx.dev/v1alpha1
kind: ServiceMapping
metadata: {{name: {name}, namespace: shop}}
spec:
  loadBalancerRef: {{name: {load_balancer}}}
  listener: {listener}
  hostnames: [{hostname}]
  path: {{value: "{path}"}}
  backends: [{{service: "{service}"}}]
"""
GOOD = {
    "load_balancer": "edge",
    "listener": "http",
    "hostname": "fine.example.com",
    "path": "/",
    "service": "my-web-server",
}


@pytest.fixture
def write(cluster: Cluster, shop: Shop) -> Iterator[Callable[..., str]]:
    """Apply a mapping; deleted again after the test."""
    written = []

    def apply(name: str, **fields: str) -> str:
        written.append(name)
        text = MAPPING.format(name=name, **{**GOOD, **fields})
        return cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)

    yield apply
    for name in written:
        cluster.kubectl("delete", "-n", "shop", f"smap/{name}", "--ignore-not-found")


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        (
            {"listener": "htp"},
            "NoMatchingListener",
            ["spec.listener", "'htp'", "it has: "],
        ),
        ({"load_balancer": "edgy"}, "LoadBalancerNotFound", ["spec.loadBalancerRef.name", "edgy"]),
        ({"hostname": HOST, "path": "/features"}, "Conflicted", ["older", "shop/features"]),
    ],
)
def test_a_rejected_mapping_says_why_and_the_others_go_on(shop: Shop, write, fields, reason, words):
    write("bad", **fields)
    write("good")
    condition = wait_for(
        lambda: (c := shop.condition("smap", "bad", "Accepted")).get("status") == "False" and c,
        what="the bad mapping is rejected",
    )
    assert condition["reason"] == reason
    assert [word for word in words if word not in condition["message"]] == []
    assert shop.condition("smap", "bad", "Programmed")["status"] == "False"
    wait_for(
        lambda: shop.condition("smap", "good", "Programmed").get("status") == "True",
        what="the good mapping is programmed",
    )
    assert ask(address=shop.address, host="fine.example.com", path="/features")[0] == 200
    assert ask(address=shop.address, host=HOST, path="/features")[0] == 200


def test_a_repaired_mapping_is_accepted_by_itself(shop: Shop, write):
    write("bad", listener="htp")
    wait_for(
        lambda: shop.condition("smap", "bad", "Accepted").get("status") == "False",
        what="it is rejected",
    )
    write("bad", listener="http")
    wait_for(
        lambda: shop.condition("smap", "bad", "Programmed").get("status") == "True",
        what="it is programmed",
    )


def test_a_rejected_edit_leaves_what_was_accepted_served_also_after_a_restart(
    cluster: Cluster, release: Release, shop: Shop, write
):
    write("edited")
    wait_for(
        lambda: shop.condition("smap", "edited", "Programmed").get("status") == "True",
        what="it is programmed",
    )
    write("edited", listener="htp", hostname="other.example.com")
    condition = wait_for(
        lambda: (c := shop.condition("smap", "edited", "Accepted")).get("status") == "False" and c,
        what="the edit is rejected",
    )
    assert "accepted last, is served on" in condition["message"]
    old = release.operator_pod()["metadata"]["name"]
    cluster.kubectl("delete", "pod", "-n", "consul-nginx", old, "--now")
    release.wait_for_another_operator(old)
    victim = shop.app_pods()[0]["metadata"]["name"]
    shop.take_out(victim)
    shop.wait_backends(2)
    assert ask(address=shop.address, host="fine.example.com", path="/features")[0] == 200
    assert ask(address=shop.address, host="other.example.com", path="/features")[0] == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"service": "../../kv/secret"}, "spec.backends[0].service"),
        ({"hostname": "'x; }'"}, "spec.hostnames[0]"),
        ({"path": "/a b"}, "spec.path.value"),
        ({"path": "relative"}, "spec.path.value"),
    ],
)
def test_the_api_server_refuses_what_can_never_be_right(write, fields, field):
    with pytest.raises(HarnessError, match="Invalid value") as refusal:
        write("bad", **fields)
    assert field in str(refusal.value)


def test_two_listeners_on_one_port_are_refused_in_words(cluster: Cluster, shop: Shop):
    text = """
apiVersion: consul-nginx.dev/v1alpha1
kind: LoadBalancer
metadata: {name: bad, namespace: shop}
spec:
  listeners: [{name: a, port: 80}, {name: b, port: 80}]
"""
    with pytest.raises(HarnessError, match="each port can be used by one listener only"):
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)


LOAD_BALANCER = """
apiVersion: consul-nginx.dev/v1alpha1
kind: LoadBalancer
metadata: {{name: {name}, namespace: shop}}
spec:
  listeners: [{{name: http, port: 80}}]
  deployment: {{replicas: 1}}
  service: {{annotations: {annotations}}}
"""


@pytest.fixture
def load_balancer(cluster: Cluster, shop: Shop) -> Iterator[Callable[..., None]]:
    """Apply another LoadBalancer; deleted again after the test."""
    written = []

    def apply(name: str, annotations: str = "{}") -> None:
        written.append(name)
        text = LOAD_BALANCER.format(name=name, annotations=annotations)
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)

    yield apply
    for name in written:
        cluster.kubectl("delete", "-n", "shop", f"nlb/{name}", "--ignore-not-found")


def programmed_reason(shop: Shop, name: str) -> str:
    return str(shop.condition("nlb", name, "Programmed").get("reason"))


def test_what_the_api_server_refuses_is_told_and_mends_by_itself(shop: Shop, load_balancer):
    load_balancer("odd", annotations='{"a key": x}')
    wait_for(lambda: programmed_reason(shop, "odd") == "Refused", what="the refusal is told")
    assert "a key" in shop.condition("nlb", "odd", "Programmed")["message"]
    assert shop.condition("nlb", "odd", "Ready")["status"] == "False"
    load_balancer("odd")
    wait_for(
        lambda: shop.condition("nlb", "odd", "Ready").get("status") == "True",
        what="it is ready after the repair",
    )


def test_an_object_of_somebody_else_is_never_taken_over(
    cluster: Cluster, shop: Shop, load_balancer
):
    before = shop.get("deployment", "my-web-server")["metadata"]["generation"]
    load_balancer("my-web-server")
    wait_for(
        lambda: programmed_reason(shop, "my-web-server") == "Refused", what="the refusal is told"
    )
    message = shop.condition("nlb", "my-web-server", "Programmed")["message"]
    assert "Deployment my-web-server exists and does not belong to LoadBalancer" in message
    found = shop.get("deployment", "my-web-server")
    assert found["metadata"]["generation"] == before
    assert "ownerReferences" not in found["metadata"]


def test_a_quantity_that_is_none_is_refused(cluster: Cluster, shop: Shop):
    patch = '{"spec": {"deployment": {"resources": {"limits": {"memory": "lots"}}}}}'
    with pytest.raises(HarnessError, match=r"spec\.deployment\.resources\.limits\.memory"):
        cluster.kubectl("patch", "-n", "shop", "nlb/edge", "--type=merge", "-p", patch)


def test_a_name_that_no_service_can_have_is_refused_in_words(load_balancer):
    with pytest.raises(HarnessError, match="becomes the name of a Service"):
        load_balancer("1edge")


def test_a_mapping_may_have_a_dot_in_its_name(shop: Shop, write):
    write("shop.example.com")
    wait_for(
        lambda: shop.condition("smap", "shop.example.com", "Programmed").get("status") == "True",
        what="it is programmed",
    )


def test_a_filter_chooses_and_a_wrong_one_is_told_and_mends_by_itself(
    cluster: Cluster, shop: Shop, write: Callable[..., str]
):
    host, name = "filtered.example.com", shop.app_pods()[0]["metadata"]["name"]
    tenant = Tenant(cluster=cluster, namespace="shop")
    chosen = f'Service.Meta["{META_POD}"] == "{name}"'

    def choose(expression: str) -> None:
        tenant.mapping(
            "filtered",
            loadBalancerRef={"name": "edge"},
            listener="http",
            hostnames=[host],
            backends=[{"service": "my-web-server", "filter": expression}],
        )

    def answering() -> set[str]:
        return {ask(address=shop.address, host=host, path="/features")[1]["pod"] for _ in range(9)}

    write("filtered", hostname=host)
    choose(chosen)
    wait_for(
        lambda: tenant.condition("smap", "filtered", "Programmed").get("status") == "True",
        what="it is programmed",
    )
    assert answering() == {name}

    choose("Service.Port = 8080")
    message = tenant.wait_condition("smap/filtered", "Accepted", "Invalid")["message"]
    assert "spec.backends[0].filter" in message
    assert "can't be read from ' = 8080' on" in message
    assert answering() == {name}, "what was accepted last is served on"

    choose("Service.Nothing == 1")
    message = tenant.wait_condition("smap/filtered", "ResolvedRefs", "ConsulRefused")["message"]
    assert 'filter: Selector "Service.Nothing" is not valid' in message
    assert answering() == {name}, "what was served before is served on"

    choose(chosen)
    wait_for(
        lambda: tenant.condition("smap", "filtered", "ResolvedRefs").get("status") == "True",
        what="Consul answers",
    )
    wait_for(
        lambda: tenant.condition("smap", "filtered", "Programmed").get("status") == "True",
        what="it is programmed again",
    )
    assert answering() == {name}
