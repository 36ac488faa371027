"""docs/hostile-values.md in a real cluster: everything at once, and nothing happens to nginx."""

from __future__ import annotations

import json
import urllib.error
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cluster.harness.commands import run
from cluster.support.consul_api import agent_request
from cluster.support.shop import APP, HOST, fetch
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for
from unit.hostile import RESOURCES, Row, shown, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

NOT_AN_IP_ADDRESS, NOT_ROUTABLE = "NotAnIPAddress", "AddressNotRoutable"
WITH_SCOPE, PORT_OUT_OF_RANGE = "AddressWithScope", "PortOutOfRange"

# What an agent takes, and why it is not served.
AT_THE_AGENT: list[tuple[dict[str, Any], str]] = [
    *(
        ({"Address": address, "Port": 8080}, reason)
        for address, reason in (
            ("1.2.3.4; } evil {", NOT_AN_IP_ADDRESS),
            ("10.0.0.1\n; } evil {", NOT_AN_IP_ADDRESS),
            ("10.0.0.1\0; } evil {", NOT_AN_IP_ADDRESS),
            ("\u0661\u0660.0.0.1", NOT_AN_IP_ADDRESS),
            ("localhost", NOT_AN_IP_ADDRESS),
            ("example.com", NOT_AN_IP_ADDRESS),
            ("$host", NOT_AN_IP_ADDRESS),
            ("unix:/run/consul-nginx/nginx/status.sock", NOT_AN_IP_ADDRESS),
            ("x" * 10_000, NOT_AN_IP_ADDRESS),
            ("fe80::1%eth0; }", WITH_SCOPE),
            ("127.0.0.1", NOT_ROUTABLE),
            ("169.254.169.254", NOT_ROUTABLE),
            ("224.0.0.1", NOT_ROUTABLE),
            ("::ffff:127.0.0.1", NOT_ROUTABLE),
        )
    ),
    *(
        ({"Address": "10.0.0.1", **port}, PORT_OUT_OF_RANGE)
        for port in ({"Port": -1}, {"Port": 0}, {"Port": 65536}, {"Port": 2**31}, {})
    ),
    (
        {
            "Address": "evil {",
            "Port": 8080,
            "Tags": ["} evil {", "$host", "\n;", "x" * 5_000],
            "Meta": {"a": "} evil {\n$host"},
            "Weights": {"Passing": 65535, "Warning": 1},
        },
        NOT_AN_IP_ADDRESS,
    ),
]
# What the catalog takes as well: nodes of any name and address, IDs of any text.
IN_THE_CATALOG: list[tuple[dict[str, Any], str]] = [
    (
        {
            "Node": "node; } evil {\n",
            "Address": "10.0.0.1; } evil {",
            "Service": {"ID": "; } evil {\n", "Port": 8080},
        },
        NOT_AN_IP_ADDRESS,
    ),
    (
        {
            "Node": "../../kv/secret",
            "Address": "127.0.0.1",
            "Service": {"ID": "../../kv/secret", "Port": 8080},
            "Check": {"CheckID": "; } evil {", "Name": "}", "Status": "passing"},
        },
        NOT_ROUTABLE,
    ),
]
# What Consul itself refuses; when it no longer does, ours are the next line.
REFUSED_BY_CONSUL = [
    {"Address": "0.0.0.0"},
    *({"Weights": {"Passing": passing, "Warning": 1}} for passing in (0, -1, 10**9)),
]


@contextmanager
def at_the_agent(agent: str, number: int, service: dict[str, Any]) -> Iterator[None]:
    identity = f"hostile-{number}"
    body = {"ID": identity, "Name": APP, **service}
    agent_request(agent, "PUT", "/v1/agent/service/register", body)
    try:
        yield
    finally:
        agent_request(agent, "PUT", f"/v1/agent/service/deregister/{identity}")


@contextmanager
def in_the_catalog(agent: str, node: dict[str, Any]) -> Iterator[None]:
    body = {**node, "Service": {"Service": APP, **node["Service"]}}
    agent_request(agent, "PUT", "/v1/catalog/register", body)
    try:
        yield
    finally:
        agent_request(agent, "PUT", "/v1/catalog/deregister", {"Node": node["Node"]})


def leaders_metrics(release: Release) -> str:
    return fetch(f"http://{release.operator_pod()['status']['podIP']}:8080/metrics")


def dropped(release: Release) -> dict[str, int]:
    """Instances of the mapping ``features`` that were dropped, by reason, as Prometheus sees it."""
    name = 'consul_nginx_mapping_dropped_instances{name="features",namespace="shop",reason="'
    lines = [
        line.removeprefix(name)
        for line in leaders_metrics(release).splitlines()
        if line.startswith(name)
    ]
    return {line.split('"')[0]: int(float(line.split()[-1])) for line in lines}


def test_everything_at_once_changes_nothing_for_nginx_and_is_told_and_counted(
    release: Release, shop: Shop
):
    agent = shop.consul_agents()[0]
    before = shop.get("configmap", "edge-config")
    reloads = shop.reloads()
    expected = Counter(reason for _, reason in AT_THE_AGENT + IN_THE_CATALOG)
    with traffic(address=shop.address, host=HOST) as sent:
        with ExitStack() as registered:
            for number, (service, _) in enumerate(AT_THE_AGENT):
                registered.enter_context(at_the_agent(agent, number, service))
            for node, _ in IN_THE_CATALOG:
                registered.enter_context(in_the_catalog(agent, node))
            like_a_path = {"Name": "../../kv/secret", "Port": 8080}
            registered.enter_context(at_the_agent(agent, len(AT_THE_AGENT), like_a_path))
            healthy = f"3/{3 + expected.total()}"
            wait_for(
                lambda: shop.get("smap", "features")["status"]["endpoints"]["summary"] == healthy,
                what="all hostile instances are known",
            )
            condition = shop.condition("smap", "features", "ResolvedRefs")
            wait_for(lambda: dropped(release) == expected, what="they are counted by reason")
            asked = sent.requests
            wait_for(lambda: sent.requests > asked + 200, what="a second of traffic")
        wait_for(lambda: dropped(release) == {}, what="none is counted any more")
    assert not sent.failures, sent.explain()
    assert set(sent.by_pod) == {pod["metadata"]["name"] for pod in shop.app_pods()}
    for reason, count in expected.items():
        assert f"{count} dropped: {reason}, such as " in condition["message"]
    assert condition["status"] == "True"
    assert condition["message"].isprintable()
    after = shop.get("configmap", "edge-config")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert shop.reloads() == reloads


@pytest.mark.parametrize("service", REFUSED_BY_CONSUL, ids=json.dumps)
def test_consul_refuses_these_itself(shop: Shop, service: dict[str, Any]):
    agent = shop.consul_agents()[0]
    with (
        pytest.raises(urllib.error.HTTPError, match="400"),
        at_the_agent(agent, 0, {"Port": 8080, **service}),
    ):
        pass


def manifest(name: str, row: Row) -> dict[str, Any]:
    kind, spec = spec_of(row)
    return {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": {"smap": "ServiceMapping", "nlb": "LoadBalancer"}[kind],
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


HARMLESS = [
    manifest("harmless-smap", Row("smap.spec.listener", "http", "")),
    manifest("harmless-nlb", Row("nlb.spec.listeners[0].name", "http", "")),
]


UNKNOWN = [row for row in RESOURCES if row.field == "smap.spec.snippet"]
KNOWN = [row for row in RESOURCES if row not in UNKNOWN]


def create(cluster: Cluster, objects: list[dict[str, Any]]) -> tuple[list[str], str]:
    """Names of the objects that the API server would take, and what it says of the others."""
    program = [cluster.kubectl.program, f"--kubeconfig={cluster.kubectl.kubeconfig}"]
    words = ("create", "--dry-run=server", "--filename=-", "--output=name")
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    done = run([*program, *words], stdin=text, check=False)
    return [name.split("/")[1] for name in done.stdout.split()], done.stderr


def test_the_api_server_refuses_every_field_of_the_list_by_name(cluster: Cluster, shop: Shop):
    hostile = [manifest(f"hostile-{number}", row) for number, row in enumerate(KNOWN)]
    taken, said = create(cluster, HARMLESS + hostile)
    assert taken == ["harmless-smap", "harmless-nlb"]
    for number, row in enumerate(KNOWN):
        [words] = [line for line in said.splitlines() if f'"hostile-{number}" is invalid' in line]
        assert row.field.split(".", 1)[1] in words, shown(row.value)


def test_fields_that_there_are_not_are_refused_as_a_slip_of_the_pen(cluster: Cluster, shop: Shop):
    taken, said = create(cluster, [manifest("hostile", row) for row in UNKNOWN])
    assert taken == []
    for row in UNKNOWN:
        assert f'unknown field "{row.field.rsplit(".", 1)[1]}"' in said
