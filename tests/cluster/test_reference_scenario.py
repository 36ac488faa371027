"""The reference scenario: 3 + 6 + 6 instances, registered from annotations, behind two nginx pods.

``pytest -s`` prints the figures of docs/measurements.md.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cluster.harness import faults
from cluster.support.clients import clients, pod_of
from cluster.support.consul_api import agent_request
from cluster.support.machine import process_of
from cluster.support.pod_times import pod_times
from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import (
    APP,
    EXAMPLES,
    HOST,
    INSTANCES,
    LAYERS,
    NAMESPACE,
    TEST_SERVER,
    TEST_SERVER_HTTP,
    TEST_SERVER_THRIFT,
)
from cluster.support.tcp_traffic import tcp_traffic
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from consul_nginx.model.registration import META_POD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

# From a check's result to nginx it takes 0.1 s, and old workers answer a moment longer; the rest is
# for two busy processors.
REACTION_S = 1.0
GRACE_S = 2.5  # keepaliveGrace, and the old workers' last answers
SERVER = "/app/server.py"
CRASH_S = 0.3  # an answer that comes later is not from before the crash
APP_OF = {APP: APP, TEST_SERVER_HTTP: TEST_SERVER, TEST_SERVER_THRIFT: TEST_SERVER}
PORT_OF = {APP: 8080, TEST_SERVER_HTTP: 8080, TEST_SERVER_THRIFT: 25000}


def names(shop: Shop, app: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in shop.app_pods(app)}


def consul_has_exactly_the_pods(cluster: Cluster, shop: Shop) -> bool:
    """Also False while Consul does not answer."""
    try:
        return all(
            passing_pods(cluster, service) == sorted(names(shop, app))
            and len(in_consul(cluster, service)) == len(names(shop, app))
            for service, app in APP_OF.items()
        )
    except OSError:
        return False


def addresses(shop: Shop, service: str) -> set[str]:
    pods = shop.app_pods(APP_OF[service])
    return {f"{pod['status']['podIP']}:{PORT_OF[service]}" for pod in pods}


def in_consul(cluster: Cluster, service: str) -> list[dict[str, Any]]:
    path = f"/v1/health/service/{service}"
    found: list[dict[str, Any]] = agent_request(cluster.consul_address, "GET", path)
    return found


def passing_pods(cluster: Cluster, service: str) -> list[str]:
    """Pods of the instances whose checks all pass: one twice, if it is registered twice.

    A Consul that starts may tell of instances of its past, which no Pod was registered for.
    """
    return sorted(
        (entry["Service"]["Meta"] or {}).get(META_POD, "")
        for entry in in_consul(cluster, service)
        if {check["Status"] for check in entry["Checks"]} == {"passing"}
    )


def scale(cluster: Cluster, counts: dict[str, int]) -> None:
    for app, count in counts.items():
        cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{app}", f"--replicas={count}")


def test_every_instance_is_in_consul_and_nginx_and_requests_rotate_over_all(
    cluster: Cluster, shop: Shop
):
    assert consul_has_exactly_the_pods(cluster, shop)
    for service, count in INSTANCES.items():
        assert len(shop.backends(service, LAYERS[service])) == count
        assert shop.backends(service, LAYERS[service]) == addresses(shop, service)
    for entry in in_consul(cluster, TEST_SERVER_THRIFT):
        assert entry["Service"]["Tags"] == ["back-end", entry["Node"]["Node"]]
    with clients(shop) as sent:
        wait_for(lambda: sent.orders.requests >= 60, what="60 orders", interval=0.02)
        wait_for(lambda: sent.thrift.requests >= 60, what="60 connections", interval=0.02)
    assert set(sent.orders.by_pod) == set(sent.features.by_pod) == names(shop, APP)
    assert set(sent.thrift.by_pod) == names(shop, TEST_SERVER)


def test_front_ends_reach_every_back_end_through_nginx(shop: Shop):
    seen: dict[str, set[str]] = {"http": set(), "tcp": set()}
    for _ in range(40):
        status, body = ask(address=shop.address, host=HOST, path="/orders", method="POST")
        assert status == 200, body
        assert not isinstance(body, str)
        for protocol, pods in seen.items():
            pods.add(body["back_ends"][protocol]["pod"])
    assert seen == {"http": names(shop, TEST_SERVER), "tcp": names(shop, TEST_SERVER)}


def test_a_client_finds_every_instance_in_consul_by_http_and_dns_and_calls_it(
    cluster: Cluster, shop: Shop
):
    file = f"--filename={EXAMPLES / 'discovery.yaml'}"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", file)
    try:
        tables = {
            service: f"{service}: 6 instances, 6 in DNS, 6 answered"
            for service in (TEST_SERVER_HTTP, TEST_SERVER_THRIFT)
        }
        logs = ("logs", "-n", NAMESPACE, "deployment/discovery")

        def both() -> str:
            text = cluster.kubectl(*logs, check=False)
            return text if all(table in text for table in tables.values()) else ""

        said = wait_for(both, what="the client has shown both services")
    finally:
        cluster.kubectl("delete", file, "--timeout=60s")
    for service in tables:
        for address in addresses(shop, service):
            row = [line for line in said.splitlines() if f" {address} " in line][-1].split()
            assert row[0] in row[2].split(","), "the node is among the tags"
            assert row[3:5] == ["passing", "yes"]
            assert row[5] in names(shop, TEST_SERVER)


def test_instances_that_are_stopped_and_started_again_cost_no_request(cluster: Cluster, shop: Shop):
    """One of each application; bench/pods.py measures the same more often."""
    before, services = names(shop, APP) | names(shop, TEST_SERVER), tuple(INSTANCES)
    watching = pod_times(
        cluster=cluster, namespace=NAMESPACE, apps=(APP, TEST_SERVER), services=services
    )
    with clients(shop) as sent, watching as times:
        scale(cluster, {APP: 2, TEST_SERVER: 5})
        wait_for(lambda: len(times.gone) == len(services), what="Consul has one less of each")
        left = time.monotonic() + GRACE_S
        assert consul_has_exactly_the_pods(cluster, shop)
        wait_for(
            lambda: all(shop.backends(s, LAYERS[s]) == addresses(shop, s) for s in services),
            what="nginx has one less of each",
        )
        wait_for(lambda: time.monotonic() > left + 0.5, what="half a second of traffic")
        stopped = before - names(shop, APP) - names(shop, TEST_SERVER)
        for found in sent.all():
            assert not stopped & found.pods_since(left - found.started)

        scale(cluster, {APP: 3, TEST_SERVER: 6})
        wait_for(lambda: len(times.passing) == len(services), what="Consul has all again")
        shop.wait_all_backends()
        back = (names(shop, APP) | names(shop, TEST_SERVER)) - before
        wait_for(
            lambda: back <= set(sent.features.by_pod) | set(sent.thrift.by_pod),
            what="the new pods answer",
        )
    sent.assert_nothing_failed()
    last_answers = times.to_last_answer(sent.features) + times.to_last_answer(sent.thrift)
    for what, seconds, at_most in (
        ("Ready to registered", times.to_registered(), 1.0),
        ("Ready to passing", times.to_passing(), noticed_s(shop)),
        ("deletionTimestamp to gone from Consul", times.to_gone_from_consul(), 1.0),
        ("deletionTimestamp to the last answer on a new connection", last_answers, 1.0),
    ):
        print(f"{what}: {', '.join(f'{1000 * value:.0f} ms' for value in sorted(seconds))}")
        assert len(seconds) in (len(stopped), len(services))
        assert max(seconds) <= at_most, what


def test_a_rolling_restart_costs_no_request(cluster: Cluster, shop: Shop):
    """All nine pods are replaced."""
    before = names(shop, APP) | names(shop, TEST_SERVER)
    with clients(shop) as sent:
        for app in (APP, TEST_SERVER):
            cluster.kubectl("rollout", "restart", "-n", NAMESPACE, f"deployment/{app}")
        for app in (APP, TEST_SERVER):
            rollout = ("rollout", "status", "-n", NAMESPACE, f"deployment/{app}")
            cluster.kubectl(*rollout, "--timeout=90s")
        wait_for(lambda: consul_has_exactly_the_pods(cluster, shop), what="Consul has the new pods")
        shop.wait_all_backends()
    sent.assert_nothing_failed()
    assert not before & (names(shop, APP) | names(shop, TEST_SERVER))


def noticed_s(shop: Shop) -> float:
    """An interval and a timeout: one check may pass just before, and the next one fails late."""
    assert shop.check_every_s is not None
    return 2.0 * shop.check_every_s


@contextmanager
def frozen(process: int) -> Iterator[None]:
    """A process that hangs while the context lasts: its port still accepts connections."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_hanging_application_costs_at_most_an_interval_and_a_timeout(shop: Shop):
    [pod, *_] = shop.app_pods()
    name, address = pod["metadata"]["name"], f"{pod['status']['podIP']}:8080"
    with traffic(address=shop.address, host=HOST, rate=100, patience=0.5) as sent:
        wait_for(lambda: name in sent.by_pod, what=f"{name} is served")
        with frozen(process_of(pod, SERVER)):
            hung = sent.elapsed()
            wait_for(lambda: address not in shop.backends(), what=f"{name} is out of nginx")
            noticed = sent.elapsed()
            until = hung + noticed_s(shop) + REACTION_S
            wait_for(lambda: sent.elapsed() > until + 1.0, what="a second more of traffic")
        shop.wait_backends(3)
        back = sent.elapsed()
        wait_for(lambda: name in sent.pods_since(back), what=f"{name} is served again")
    last = max((failure.at for failure in sent.failures), default=hung)
    print(
        f"a hang, checks every {shop.check_every_s} s: out of nginx after {noticed - hung:.2f} s, "
        f"the last failed request was sent after {last - hung:.2f} s"
    )
    assert sent.failures, "the hang is seen by clients"
    assert last < until, sent.explain()


def test_a_tcp_application_that_crashes_costs_no_new_connection_and_comes_back(
    cluster: Cluster, shop: Shop
):
    """Nobody listens on 25000 until it is started again; nginx tries the next instance."""
    [pod, *_] = shop.app_pods(TEST_SERVER)
    name = pod["metadata"]["name"]
    with tcp_traffic(addresses=[shop.thrift_address], name_of=pod_of) as sent:
        wait_for(lambda: name in sent.by_pod, what=f"{name} is served")
        crash = sent.elapsed()
        os.kill(process_of(pod, SERVER), signal.SIGKILL)
        wait_for(
            lambda: name in sent.pods_since(crash + CRASH_S),
            what=f"{name} is served again",
        )
    print(f"a crash: {sent.explain()}")
    assert len(sent.failures) <= 1, sent.explain()


def voters(cluster: Cluster) -> int:
    path = "/v1/operator/raft/configuration"
    servers = agent_request(cluster.consul_address, "GET", path)["Servers"]
    return sum(server["Voter"] for server in servers)


def test_when_consuls_leader_dies_another_is_elected_and_nothing_in_nginx_changes(
    cluster: Cluster, shop: Shop
):
    def leader(address: str) -> str:
        return str(agent_request(address, "GET", "/v1/status/leader")).partition(":")[0]

    selector = ("get", "pods", "-n", "consul", "-l", "component=server", "-o", "json")
    servers = {
        pod["status"]["podIP"]: pod for pod in json.loads(cluster.kubectl(*selector))["items"]
    }
    # A server that joined again has no vote for the first ten seconds.
    wait_for(lambda: voters(cluster) == 3, what="all servers vote")
    old = leader(cluster.consul_address)
    other = next(f"http://{ip}:8500" for ip in servers if ip != old)
    before, reloads = shop.backends(), shop.reloads()
    process = process_of(servers[old], "agent")
    with clients(shop) as sent:
        with frozen(process):  # so that it can't be elected again
            wait_for(lambda: leader(other) not in ("", old), what="another leads")
            os.kill(process, signal.SIGKILL)
        wait_for(
            lambda: len(agent_request(other, "GET", "/v1/status/peers")) == 3, what="three peers"
        )
        assert shop.backends() == before
        assert shop.reloads() == reloads
        shop.take_out(sorted(names(shop, APP))[0])
        shop.wait_backends(2)
        cluster.kubectl("rollout", "status", "-n", "consul", "statefulset/consul-server")
    sent.assert_nothing_failed()


def test_when_a_node_with_nginx_dies_the_other_nginx_serves_on(cluster: Cluster, shop: Shop):
    """Its Consul agent and its pods die, too. A dead node refuses nothing: what was sent to it, on
    a connection that was open, gets no answer; whoever connects waits a second for each dead
    instance that nginx tries. That ends when nginx runs without them, for what is sent on a kept
    connection after keepaliveGrace."""
    dead, survivor = shop.nginx_pods()
    [node] = [each for each in cluster.nodes if each.name == dead["spec"]["nodeName"]]
    assert survivor["spec"]["nodeName"] != node.name
    address = survivor["status"]["podIP"]
    lost = {
        pod["status"]["podIP"]
        for app in (APP, TEST_SERVER)
        for pod in shop.app_pods(app)
        if pod["spec"]["nodeName"] == node.name
    }
    assert lost

    def served() -> set[str]:
        found = (shop.backends(service, layer) for service, layer in LAYERS.items())
        return {backend.rpartition(":")[0] for backends in found for backend in backends}

    restarts = restarts_on(cluster, node.name)
    with (
        traffic(address=f"{address}:80", host=HOST, rate=100, patience=5.0) as sent,
        tcp_traffic(addresses=[f"{address}:25000"], rate=50, name_of=pod_of) as thrift,
    ):
        off = time.monotonic()
        faults.power_off(node)
        try:
            wait_for(
                lambda: not lost & served() and shop.runs_its_bundle(survivor),
                what="nginx has none of the dead node's",
            )
            out = time.monotonic()
            until = out + GRACE_S
            wait_for(lambda: time.monotonic() > until + 1.0, what="a second more of traffic")
        finally:
            faults.power_on(cluster, node)

    def all_restarted() -> bool:
        now = restarts_on(cluster, node.name)
        return all(now.get(pod, 0) > count for pod, count in restarts.items())

    wait_for(all_restarted, what="the node's pods run again")
    wait_for(lambda: consul_has_exactly_the_pods(cluster, shop), what="Consul has every instance")
    rollout = ("rollout", "status", "-n", NAMESPACE, "deployment/edge", "--timeout=60s")
    cluster.kubectl(*rollout)
    shop.wait_all_backends()
    print(f"a node's death: its instances are out of nginx after {out - off:.1f} s")
    for found in (sent, thrift):
        last = max((found.started + failure.at for failure in found.failures), default=off)
        print(f"a node's death: {found.explain()}; the last one was sent after {last - off:.2f} s")
        assert last <= until, found.explain()


def restarts_on(cluster: Cluster, node: str) -> dict[str, int]:
    """Restarts of the ready pods of a node, by name; of all containers together."""
    words = ("get", "pods", "-n", NAMESPACE, f"--field-selector=spec.nodeName={node}", "-o", "json")
    containers = {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"]
        for pod in json.loads(cluster.kubectl(*words))["items"]
    }
    return {
        name: sum(item["restartCount"] for item in items)
        for name, items in containers.items()
        if all(item["ready"] for item in items)
    }


def test_a_registrar_that_starts_before_consul_waits_and_registers_everything(
    cluster: Cluster, release: Release, shop: Shop
):
    """No server, no agent; and all front ends are new, so that nobody can have kept them."""
    consul_away(cluster)
    try:
        old = {pod["metadata"]["name"] for pod in release.operator_pods()}
        cluster.kubectl("delete", "pod", "-n", OPERATOR_NAMESPACE, *old, "--now")
        cluster.kubectl("rollout", "restart", "-n", NAMESPACE, f"deployment/{APP}")
        rollout = ("rollout", "status", "-n", NAMESPACE, f"deployment/{APP}", "--timeout=90s")
        cluster.kubectl(*rollout)
        operator = release.operator_pod()
        assert operator["metadata"]["name"] not in old
    finally:
        consul_back(cluster)
    wait_for(lambda: consul_has_exactly_the_pods(cluster, shop), what="Consul has every instance")
    shop.wait_all_backends()
    for pod in release.operator_pods():
        [container] = pod["status"]["containerStatuses"]
        assert container["restartCount"] == 0


def consul_away(cluster: Cluster) -> None:
    within = ("-n", "consul")
    nowhere = json.dumps({"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}})
    cluster.kubectl("scale", *within, "statefulset/consul-server", "--replicas=0")
    cluster.kubectl("patch", *within, "daemonset/consul-client", "-p", nowhere)
    cluster.kubectl("wait", *within, "pods", "--all", "--for=delete", "--timeout=60s")


def consul_back(cluster: Cluster) -> None:
    within = ("-n", "consul")
    everywhere = json.dumps({"spec": {"template": {"spec": {"nodeSelector": None}}}})
    cluster.kubectl("patch", *within, "daemonset/consul-client", "-p", everywhere)
    cluster.kubectl("scale", *within, "statefulset/consul-server", "--replicas=3")
    for what in ("statefulset/consul-server", "daemonset/consul-client"):
        cluster.kubectl("rollout", "status", *within, what, "--timeout=120s", timeout=150)
