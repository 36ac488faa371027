"""HTTP, TCP and UDP listeners come and go while the pods stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.consul_api import maintain
from cluster.support.sessions import datagram, session
from cluster.support.shop import HOST, TEST_SERVER_THRIFT
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from consul_nginx.model.nginx import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

HTTP = {"name": "http", "protocol": "HTTP", "port": 80}
SERVICES = {"name": "services", "protocol": "HTTP", "port": 8080}
THRIFT = {"name": "thrift", "protocol": "TCP", "port": 25000}


@pytest.fixture
def listeners(cluster: Cluster, shop: Shop) -> Iterator[Callable[..., None]]:
    """Set the listeners besides the three of examples/; back to those after the test."""

    def set_to(*more: dict[str, Any]) -> None:
        patch = json.dumps({"spec": {"listeners": [HTTP, SERVICES, THRIFT, *more]}})
        cluster.kubectl("patch", "-n", "shop", "nlb/edge", "--type=merge", "-p", patch)

    yield set_to
    set_to()
    cluster.kubectl("delete", "-n", "shop", "smap/new", "--ignore-not-found")


@pytest.fixture
def map_to(cluster: Cluster) -> Callable[[str, str], None]:
    """Map a listener to a service, by the mapping ``new``."""

    def apply(listener: str, service: str) -> None:
        cluster.kubectl.apply(
            [
                {
                    "apiVersion": "consul-nginx.dev/v1alpha1",
                    "kind": "ServiceMapping",
                    "metadata": {"name": "new", "namespace": "shop"},
                    "spec": {
                        "loadBalancerRef": {"name": "edge"},
                        "listener": listener,
                        "backends": [{"service": service}],
                    },
                }
            ]
        )
        cluster.kubectl(
            "wait", "-n", "shop", "smap/new", "--for=condition=Programmed", "--timeout=60s"
        )

    return apply


def pods(shop: Shop) -> set[str]:
    return {pod["metadata"]["uid"] for pod in shop.nginx_pods()}


def test_tcp_connections_are_spread_over_the_instances(shop: Shop):
    seen = set()
    for number in range(60):
        with session(shop.thrift_address) as opened:
            answer = opened.say(f"hello {number}")
        assert answer["said"] == f"hello {number}"
        seen.add(answer["pod"])
    assert len(seen) == 6


def test_an_open_tcp_session_outlives_reloads(shop: Shop):
    with session(shop.thrift_address) as opened:
        served_by = opened.say("one")["pod"]
        reloads = shop.reloads()
        other = next(pod for pod in shop.instances(TEST_SERVER_THRIFT) if pod != served_by)
        shop.take_out(other, TEST_SERVER_THRIFT)
        wait_for(
            lambda: (
                len(shop.backends(TEST_SERVER_THRIFT, Layer.STREAM)) == 5 and shop.is_programmed()
            ),
            what="nginx has five instances",
        )
        assert shop.reloads() != reloads
        assert opened.say("two")["pod"] == served_by


def test_a_listener_is_added_and_taken_away_live(
    shop: Shop, listeners: Callable[..., None], map_to: Callable[[str, str], None]
):
    before = pods(shop)
    with traffic(address=shop.address, host=HOST) as sent:
        listeners({"name": "new", "protocol": "TCP", "port": 7000})
        map_to("new", "test-server-thrift-service")
        wait_until_kube_proxy_knows(lambda: tcp_answer(f"{shop.ip}:7000"))

        listeners({"name": "new", "protocol": "UDP", "port": 7000})
        wait_until_kube_proxy_knows(lambda: datagram(f"{shop.ip}:7000", "hello")["said"])

        listeners({"name": "new", "protocol": "HTTP", "port": 7001})
        map_to("new", "test-server-http-service")
        wait_until_kube_proxy_knows(
            lambda: ask(address=f"{shop.ip}:7001", host="x", path="/hello")[0] == 200
        )
        listeners()
        wait_for(
            lambda: shop.condition("smap", "new", "Accepted").get("reason") == "NoMatchingListener",
            what="the mapping says that its listener is gone",
        )
    assert pods(shop) == before
    assert not sent.failures, sent.explain()
    assert sent.requests > 200


SQUAT = """
import socket, time
taken = socket.socket()
taken.bind(("0.0.0.0", 7005))
taken.listen()
time.sleep(120)
"""


def test_a_listener_whose_port_is_taken_holds_up_no_other(
    cluster: Cluster,
    shop: Shop,
    listeners: Callable[..., None],
    map_to: Callable[[str, str], None],
):
    for pod in shop.nginx_pods():
        name, python = pod["metadata"]["name"], "/opt/consul-nginx/bin/python"
        quiet = "stdin=-3, stdout=-3, stderr=-3, start_new_session=True"
        code = f"import subprocess; subprocess.Popen([{python!r}, '-c', {SQUAT!r}], {quiet})"
        cluster.kubectl("exec", "-n", "shop", name, "-c", "nginx", "--", python, "-c", code)
    with traffic(address=shop.address, host=HOST) as sent:
        listeners(
            {"name": "taken", "protocol": "HTTP", "port": 7005},
            {"name": "free", "protocol": "TCP", "port": 7006},
        )
        map_to("free", "test-server-thrift-service")
        condition = wait_for(
            lambda: (
                # Until it is known which listener it is, the words of a pod stand there.
                (c := shop.condition("nlb", "edge", "Programmed")).get("reason") == "Rejected"
                and "listener taken: " in c["message"]
                and c
            ),
            what="the LoadBalancer says which listener nginx refuses",
        )
        assert "listener taken: " in condition["message"]
        assert "7005 failed (98: Address already in use)" in condition["message"]
        wait_until_kube_proxy_knows(lambda: tcp_answer(f"{shop.ip}:7006"))
        listeners()
        shop.wait_ready()
    assert not sent.failures, sent.explain()


def tcp_answer(address: str) -> str:
    with session(address) as opened:
        return str(opened.say("hello")["said"])


def wait_until_kube_proxy_knows(probe: Callable[[], object]) -> None:
    """A new port of a Service reaches the nodes a moment after nginx listens on it."""

    def answers() -> bool:
        try:
            return bool(probe())
        except (OSError, EOFError):
            return False

    wait_for(answers, what="the new listener answers by its Service")


def test_tcp_and_udp_share_a_port(
    shop: Shop, listeners: Callable[..., None], map_to: Callable[[str, str], None]
):
    listeners({"name": "thrift-udp", "protocol": "UDP", "port": 25000})
    map_to("thrift-udp", "test-server-thrift-service")
    wait_until_kube_proxy_knows(lambda: datagram(shop.thrift_address, "hello")["said"])
    assert tcp_answer(shop.thrift_address) == "hello"


def test_a_tcp_service_without_instances_closes_connections_and_the_others_go_on(shop: Shop):
    for instance in shop.instances(TEST_SERVER_THRIFT).values():
        maintain(instance.agent, instance.id, enable=True)
    wait_for(
        lambda: not shop.backends(TEST_SERVER_THRIFT, Layer.STREAM) and shop.is_programmed(),
        what="nginx has no instance",
    )
    with session(shop.thrift_address) as opened, pytest.raises((EOFError, OSError)):
        opened.say("hello")
    assert ask(address=shop.address, host=HOST, path="/features")[0] == 200
    message = wait_for(
        lambda: (
            (c := shop.condition("smap", "thrift", "ResolvedRefs")).get("status") == "False"
            and c["message"]
        ),
        what="the mapping says so",
    )
    assert "nginx closes connections at once" in message


def test_a_host_name_on_a_tcp_listener_is_refused_with_the_way_out(cluster: Cluster, shop: Shop):
    patch = {"spec": {"hostnames": ["shop.example.com"]}}
    cluster.kubectl("patch", "-n", "shop", "smap/thrift", "--type=merge", "-p", json.dumps(patch))
    try:
        condition = wait_for(
            lambda: (
                (c := shop.condition("smap", "thrift", "Accepted")).get("status") == "False" and c
            ),
            what="it is rejected",
        )
        assert condition["reason"] == "UnsupportedValue"
        assert (
            "spec.hostnames: shop.example.com: listener thrift speaks TCP" in condition["message"]
        )
        with session(shop.thrift_address) as opened:
            assert opened.say("still served")["said"] == "still served"
    finally:
        patch = {"spec": {"hostnames": None}}
        cluster.kubectl(
            "patch", "-n", "shop", "smap/thrift", "--type=merge", "-p", json.dumps(patch)
        )
