"""What must not go wrong with registrations: lost state, bad input, a Consul that is away."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from cluster.support.consul_api import agent_request
from cluster.support.consul_servers import cut_off
from cluster.support.kwok import Kwok
from cluster.support.machine import process_of
from cluster.support.registered import (
    CRITICAL,
    PASSING,
    Entry,
    deregister,
    entries,
    living,
    owners,
    wait_entries,
)
from cluster.support.registrars import metric, registrar, scale
from cluster.support.waiting import wait_for
from consul_nginx.consul.registered import notes, readiness_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

NAMESPACE = "red"
SOON_S = 5.0
PORT, OTHER_PORT = 8080, 9090
PENDING = 'consul_nginx_registrations{state="pending"}'
MISSED = 'consul_nginx_registrations{state="missed"}'


@contextmanager
def played_pods(
    played: Kwok, consul: str, names: tuple[str, ...], service: str
) -> Iterator[list[Entry]]:
    """Pods of a service, registered and passing, while the context lasts."""
    played.create_pods(NAMESPACE, names, {"SERVICE_NAME": service})
    try:
        yield wait_entries(
            consul,
            service,
            lambda found: len(owners(found, status=PASSING)) == len(names),
            what="all are passing",
        )
    finally:
        played.delete_pods(NAMESPACE, names)


def apply_real_pod(cluster: Cluster, name: str, *, namespace: str, **spec: Any) -> None:
    """A pod that a kubelet runs; it does nothing, and is ready when there is a file."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"SERVICE_NAME": name},
        },
        "spec": {
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "app",
                    "image": "docker.io/library/python:3.13-slim-trixie",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "600"],
                    "ports": [{"containerPort": PORT}],
                    **spec,
                }
            ],
        },
    }
    cluster.kubectl.apply([body])


def test_a_pod_is_registered_at_once_passing_when_ready_and_gone_before_it_stops(
    cluster: Cluster, red: Release, consul: str
):
    apply_real_pod(
        cluster,
        "red-life",
        namespace=NAMESPACE,
        readinessProbe={"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
        lifecycle={"preStop": {"sleep": {"seconds": 25}}},
    )
    pod = ("-n", NAMESPACE, "red-life")
    try:
        [entry] = wait_entries(consul, "red-life", bool, what="it is registered")
        assert entry.status == CRITICAL
        assert (entry.id, entry.port) == (f"red:{NAMESPACE}/red-life:{PORT}", PORT)
        cluster.kubectl("exec", *pod, "--", "touch", "/tmp/ready")
        wait_entries(
            consul, "red-life", lambda found: found[0].status == PASSING, what="it is passing"
        )
        cluster.kubectl("delete", "pod", *pod, "--wait=false")
        wait_entries(consul, "red-life", lambda found: not found, what="it is gone", seconds=SOON_S)
        raw = json.loads(cluster.kubectl("get", "pod", *pod, "-o", "json"))
        assert "deletionTimestamp" in raw["metadata"]
        assert "running" in raw["status"]["containerStatuses"][0]["state"]
    finally:
        cluster.kubectl("delete", "pod", *pod, "--grace-period=0", "--force")


def edit(consul: str, entry: Entry, **service: Any) -> None:
    """Change a registration in the catalog, as somebody would by hand."""
    node = agent_request(consul, "GET", f"/v1/catalog/node-services/{entry.node}")
    [raw] = [item for item in node["Services"] if item["ID"] == entry.id]
    body = {
        "Node": entry.node,
        "Address": node["Node"]["Address"],
        "SkipNodeUpdate": True,
        "Service": {**raw, **service},
    }
    agent_request(consul, "PUT", "/v1/catalog/register", body)


def test_what_is_changed_by_hand_is_put_right(played: Kwok, red: Release, consul: str):
    service, names = "red-drift", ("red-drift-0", "red-drift-1")
    with played_pods(played, consul, names, service) as before:

        def wait_for_the_same() -> None:
            wait_entries(
                consul,
                service,
                lambda found: sorted(found, key=str) == sorted(before, key=str),
                what="it is as it was",
                seconds=SOON_S,
            )

        found = metric(red, "consul_nginx_registration_drift_total")
        deregister(consul, before[0])
        wait_for_the_same()
        agent_request(consul, "PUT", "/v1/catalog/deregister", {"Node": before[1].node})
        wait_for_the_same()
        assert metric(red, "consul_nginx_registration_drift_total") > found

        # Readiness checks don't show it: it is found when its node is compared the next time, which
        # is every five minutes, or when another pod comes.
        edit(consul, before[0], Tags=["edited"])
        with played_pods(played, consul, ("red-next-0",), "red-next"):
            wait_for_the_same()


HOSTILE = {
    "red-control-0": {"NAME": "red-\r\n\x1b[2J"},
    "red-long-0": {"NAME": "red-" + 10_000 * "x"},
    "red-keys-0": {f"KEY_{number}": "x" for number in range(3000)},
    "red-theft-0": {"NAME": "blue-secrets"},
    "red-json-0": {"CHECK_HTTP": "/", "CHECK_HEADER": '{"a": ['},
    "red-weight-0": {"WEIGHT": 40 * "9"},
    "red-port-0": {"PORT": 40 * "9"},
    "red-ip-0": {"IP": "169.254.169.254"},
}
REFUSALS = {"InvalidValue", "NotAllowed", "TooManyKeys"}


def test_a_hostile_annotation_costs_its_port_and_nothing_else(
    cluster: Cluster, played: Kwok, red: Release, consul: str
):
    for name, hostile in HOSTILE.items():
        scoped = {f"SERVICE_{OTHER_PORT}_{key}": value for key, value in hostile.items()}
        good = {f"SERVICE_{PORT}_NAME": "red-good"}
        played.create_pods(NAMESPACE, [name], {**good, **scoped}, ports=(PORT, OTHER_PORT))
    try:
        wait_entries(
            consul,
            "red-good",
            lambda found: (
                {item.owner.pod for item in found if item.status == PASSING} == {*HOSTILE}
            ),
            what="the other port of every pod is passing",
        )
        told: dict[str, set[str]] = {}

        def all_are_told() -> bool:
            for item in json.loads(cluster.kubectl("get", "events", "-n", NAMESPACE, "-o", "json"))[
                "items"
            ]:
                if item["type"] == "Warning":
                    told.setdefault(item["involvedObject"]["name"], set()).add(item["reason"])
            return all(told.get(name, set()) & REFUSALS for name in HOSTILE)

        wait_for(all_are_told, what="every pod has an Event", seconds=20)
        assert not entries(consul, "blue-secrets")
        node_names = {item.node for item in entries(consul, "red-good")}
        held = [
            service
            for node in node_names
            for service in agent_request(consul, "GET", f"/v1/catalog/node-services/{node}")[
                "Services"
            ]
        ]
        assert {item["Service"] for item in held} == {"red-good"}
        assert {item["Port"] for item in held} == {PORT}
    finally:
        played.delete_pods(NAMESPACE, HOSTILE)


def restarts(release: Release) -> int:
    return sum(
        status["restartCount"]
        for pod in release.operator_pods()
        for status in pod["status"].get("containerStatuses", ())
    )


def test_while_consul_is_away_nothing_crashes_and_nothing_is_lost(
    cluster: Cluster, played: Kwok, red: Release, consul: str
):
    """It goes away later, and is away when an operator starts."""
    service = "red-away"
    old, new = ("red-away-0", "red-away-1"), ("red-away-2", "red-away-3")
    with played_pods(played, consul, old, service):
        before = restarts(red)
        with cut_off(cluster):
            played.create_pods(NAMESPACE, new, {"SERVICE_NAME": service})
            played.delete_pods(NAMESPACE, old[:1])
            wait_for(lambda: metric(red, PENDING) >= len(new), what="they are told to wait")
            leader = red.operator_pod()["metadata"]["name"]
            log = cluster.kubectl("logs", "-n", red.namespace, leader)
            assert log.count("registrations wait: Consul does not take them") == 1
            assert restarts(red) == before
            cluster.kubectl("delete", "pod", "-n", red.namespace, leader, "--now")
            assert red.operator_pod()["metadata"]["name"] != leader
            assert restarts(red) == before
        wanted = living(cluster, of="red", namespace=NAMESPACE, selector="app=red-away")
        assert len(wanted) == len(old) + len(new) - 1
        found = wait_entries(
            consul,
            service,
            lambda found: owners(found, status=PASSING) == wanted,
            what="exactly the living pods are passing",
        )
        assert owners(found) == wanted
    played.delete_pods(NAMESPACE, new)


def test_many_pods_that_ended_while_no_operator_ran_are_gone_once_lists_confirm_it(
    cluster: Cluster, played: Kwok, red: Release, consul: str
):
    service = "red-absent"
    names = tuple(f"{service}-{number}" for number in range(20))
    replicas = len(red.operator_pods())
    with played_pods(played, consul, names, service):
        scale(cluster, red, 0)
        try:
            played.delete_pods(NAMESPACE, names)
            everything = (f"--selector=app={service}", "--for=delete", "--timeout=60s")
            cluster.kubectl("wait", "pod", "-n", NAMESPACE, *everything)
        finally:
            scale(cluster, red, replicas)
        wait_for(lambda: metric(red, MISSED), what="most are kept at first")
        wait_entries(consul, service, lambda found: not found, what="nothing is registered")
        wait_for(lambda: not metric(red, MISSED), what="nothing is missed")


@pytest.fixture(scope="module")
def green(cluster: Cluster, red: Release) -> Iterator[Release]:
    """An operator that registers with the agents of the nodes."""
    with registrar(
        cluster=cluster,
        name="green",
        namespaces=("green",),
        **{"registration.mode": "agent"},
    ) as found:
        yield found


def client_agents(cluster: Cluster) -> dict[str, Any]:
    """Pods of Consul's agents, by the node that they are on."""
    words = ("get", "pods", "-n", "consul", "-l", "component=client", "-o", "json")
    found = json.loads(cluster.kubectl(*words))["items"]
    return {item["spec"]["nodeName"]: item for item in found if "nodeName" in item["spec"]}


def url_of(agent: dict[str, Any]) -> str:
    return f"http://{agent['status']['hostIP']}:8500"


def test_an_agent_that_lost_its_state_has_it_again_within_seconds(
    cluster: Cluster, green: Release, consul: str
):
    apply_real_pod(cluster, "green-agent", namespace="green")
    [entry] = wait_entries(
        consul,
        "green-agent",
        lambda found: [item.status for item in found] == [PASSING],
        what="it is passing",
    )
    agent = client_agents(cluster)[entry.node]
    state = cluster.settings.node_dir(entry.node) / "var-lib" / "consul-client"
    for folder in ("services", "checks"):
        shutil.rmtree(state / folder)
    os.kill(process_of(agent, "agent"), signal.SIGKILL)
    address = url_of(agent)

    def services() -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = agent_request(address, "GET", "/v1/agent/services")
        except OSError:
            return None
        return found

    wait_for(lambda: services() is not None, what="the agent answers again", interval=0.02)
    wait_for(
        lambda: entry.id in (services() or {}), what="it knows of the pod again", seconds=2 * SOON_S
    )
    wait_entries(
        consul,
        "green-agent",
        lambda found: [item.status for item in found] == [PASSING],
        what="it is passing again",
        seconds=2 * SOON_S,
    )


def test_what_an_agent_brings_back_to_a_node_without_pods_of_ours_goes(
    cluster: Cluster, green: Release, consul: str
):
    service = "green-gone"
    apply_real_pod(cluster, service, namespace="green")
    [entry] = wait_entries(
        consul, service, lambda found: [item.status for item in found] == [PASSING], what="passes"
    )
    agents = client_agents(cluster)
    path = f"/v1/agent/service/{quote(entry.id, safe='')}"
    meta = agent_request(url_of(agents[entry.node]), "GET", path)["Meta"]
    cluster.kubectl("delete", "pod", "-n", "green", service, "--grace-period=0", "--force")
    wait_entries(consul, service, lambda found: not found, what="it is gone")
    nodes = "--output=jsonpath={.items[*].spec.nodeName}"
    with_pods = cluster.kubectl("get", "pods", "-n", "green", nodes).split()
    elsewhere = next(node for node in agents if node not in (entry.node, *with_pods))
    back = {
        "ID": entry.id,
        "Name": service,
        "Address": entry.address,
        "Port": entry.port,
        "Meta": meta,
        "Check": {
            "CheckID": readiness_id(entry.id),
            "Notes": notes("green"),
            "TTL": "24h",
            "Status": PASSING,
        },
    }
    agent_request(url_of(agents[elsewhere]), "PUT", "/v1/agent/service/register", back)
    wait_entries(consul, service, bool, what="it is back")
    wait_entries(consul, service, lambda found: not found, what="nobody follows it, so it goes")
