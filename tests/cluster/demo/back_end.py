"""The other application: test-server by HTTP below a path, and by TCP on a port of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cluster.harness.report import heading, line, table
from cluster.support.sessions import session
from cluster.support.shop import HOST, TEST_SERVER_THRIFT
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.model.nginx import Layer

if TYPE_CHECKING:
    from cluster.support.shop import Shop

ASKED = 30


def show_test_server(shop: Shop) -> None:
    """Requests and sessions are spread over its pods; an open session outlives a reload."""
    heading(f"\nThe back end: HTTP at http://{shop.address}/test, TCP at {shop.thrift_address}")
    requests, sessions = Counter[str](), Counter[str]()
    for _ in range(ASKED):
        status, body = ask(address=shop.address, host=HOST, path="/test")
        if status != 200 or isinstance(body, str):
            raise AssertionError(f"HTTP {status}: {body}")
        requests[body["pod"]] += 1
        with session(shop.thrift_address) as opened:
            sessions[opened.say("hello")["pod"]] += 1
    _, thrift = shop.test_server
    table(
        [
            ("POD", "REQUESTS", "SESSIONS"),
            *((pod, str(requests[pod]), str(sessions[pod])) for pod in sorted(thrift.pods())),
        ]
    )
    show_a_session_that_stays(shop)


def show_a_session_that_stays(shop: Shop) -> None:
    """One instance leaves Consul; nginx reloads, and a session with another one goes on."""
    _, thrift = shop.test_server
    with session(shop.thrift_address) as opened:
        pod = opened.say("before")["pod"]
        reloads = sum(shop.reloads().values())
        other = next(name for name in sorted(thrift.pods()) if name != pod)
        thrift.deregister(thrift.service_id(other))
        wait_backends(shop, 2)
        more = sum(shop.reloads().values()) - reloads
        if opened.say("after")["pod"] != pod:
            raise AssertionError("the session went to another pod")
    line("an open TCP session", f"stays with its pod while another leaves ({more} reloads)")
    thrift.sync()
    wait_backends(shop, 3)


def wait_backends(shop: Shop, count: int) -> None:
    """Wait until every nginx pod has this many backends of the TCP service."""
    wait_for(
        lambda: (
            len(shop.backends(TEST_SERVER_THRIFT, Layer.STREAM)) == count and shop.is_programmed()
        ),
        what=f"nginx has {count} backends of the TCP service",
    )
