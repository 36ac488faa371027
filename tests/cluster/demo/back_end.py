"""The back end, test-server: asked through nginx by HTTP and TCP, by my-web-server and by us."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from cluster.demo import screen
from cluster.harness.report import heading, line, table
from cluster.support.sessions import session
from cluster.support.shop import HOST, TEST_SERVER, TEST_SERVER_THRIFT
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.model.nginx import Layer

if TYPE_CHECKING:
    from cluster.support.shop import Shop

ASKED = 60


def show_test_server(shop: Shop) -> None:
    """Orders and sessions are spread over its pods; an open session outlives a reload."""
    heading(f"\nThe front end asks the back end through nginx: http://{shop.address}/orders")
    by_http, by_tcp, sessions = Counter[str](), Counter[str](), Counter[str]()
    for number in range(ASKED):
        status, body = ask(address=shop.address, host=HOST, path="/orders", method="POST")
        if status != 200 or isinstance(body, str):
            raise AssertionError(f"HTTP {status}: {body}")
        if number == 0:
            screen.show(json.dumps(body))
        by_http[body["back_ends"]["http"]["pod"]] += 1
        by_tcp[body["back_ends"]["tcp"]["pod"]] += 1
        with session(shop.thrift_address) as opened:
            sessions[opened.say("hello")["pod"]] += 1
    pods = [str(pod["metadata"]["name"]) for pod in shop.app_pods(TEST_SERVER)]
    table(
        [
            ("POD", "ORDERS BY HTTP", "ORDERS BY TCP", f"SESSIONS AT {shop.thrift_address}"),
            *((pod, str(by_http[pod]), str(by_tcp[pod]), str(sessions[pod])) for pod in pods),
        ]
    )
    show_a_session_that_stays(shop)


def show_a_session_that_stays(shop: Shop) -> None:
    """One instance leaves nginx, which reloads; a session with another one goes on."""
    with session(shop.thrift_address) as opened:
        pod = opened.say("before")["pod"]
        reloads = sum(shop.reloads().values())
        other = next(name for name in sorted(shop.instances(TEST_SERVER_THRIFT)) if name != pod)
        shop.take_out(other, TEST_SERVER_THRIFT)
        wait_backends(shop, 5)
        more = sum(shop.reloads().values()) - reloads
        if opened.say("after")["pod"] != pod:
            raise AssertionError("the session went to another pod")
    line("an open TCP session", f"stays with its pod while another leaves ({more} reloads)")
    shop.bring_back()
    wait_backends(shop, 6)


def wait_backends(shop: Shop, count: int) -> None:
    """Wait until every nginx pod has this many backends of the TCP service."""
    wait_for(
        lambda: (
            len(shop.backends(TEST_SERVER_THRIFT, Layer.STREAM)) == count and shop.is_programmed()
        ),
        what=f"nginx has {count} backends of the TCP service",
    )
