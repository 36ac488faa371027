"""What changes in Consul changes in nginx."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from cluster.demo import screen
from cluster.harness.report import heading, line, table
from cluster.support.machine import process_of
from cluster.support.shop import APP, HOST, NAMESPACE
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.support.shop import Shop

PATH = "/features"
GRACE_S = 3.0  # keepaliveGrace, and the old workers' last answers


def show_rotation(shop: Shop) -> None:
    """The backends that nginx has, and which pods answer."""
    heading("\nWhat nginx has from Consul")
    show_backends(shop)
    heading(f"\nRequests to http://{shop.address}{PATH} rotate")
    with traffic(address=shop.address, host=HOST, rate=100) as sent:
        wait_for(lambda: sent.requests >= 300, what="300 requests")
    table([("POD", "ANSWERS"), *((pod, str(n)) for pod, n in sorted(sent.by_pod.items()))])
    if set(sent.by_pod) != names(shop):
        raise AssertionError("not every pod answered")


def show_stop_and_start(shop: Shop) -> int:
    """One pod is stopped the ordinary way, then started again, under traffic."""
    heading("\nOne backend is stopped while 200 requests per second go on")
    with traffic(address=shop.address, host=HOST) as sent:
        before = names(shop)
        with screen.after("gone from nginx"):
            scale(shop, 2)
            shop.wait_backends(2)
        stopped = before - names(shop)
        left = sent.elapsed() + GRACE_S
        wait_for(lambda: sent.elapsed() > left + 1, what="a second of traffic")
        line("still reached?", "yes" if stopped & sent.pods_since(left) else "no")
        show_backends(shop)
        heading("\nIt is started again")
        with screen.after("back in nginx", more=" (its start included)"):
            scale(shop, 3)
            shop.wait_backends(3)
        back = sent.elapsed()
        new = names(shop) - before
        wait_for(lambda: new <= sent.pods_since(back), what="the new pod answers")
    show_backends(shop)
    return screen.failures(sent)


def show_sick_and_well(shop: Shop) -> int:
    """One pod is put into maintenance in Consul, and out of it again."""
    heading("\nOne backend is put into Consul's maintenance mode, and out of it again")
    pod = sorted(names(shop))[0]
    with traffic(address=shop.address, host=HOST) as sent:
        with screen.after("out of nginx"):
            shop.take_out(pod)
            shop.wait_backends(2)
        with screen.after("back in nginx"):
            shop.bring_back()
            shop.wait_backends(3)
    return screen.failures(sent)


def show_a_hang(shop: Shop) -> int:
    """One pod's process stands still: Consul's check notices, within an interval and a timeout."""
    pod = shop.app_pods()[0]
    heading(
        "\nOne backend hangs, but does not stop (kill -STOP): its check runs every 10 s, waits 2 s"
    )
    process = process_of(pod, "/app/server.py")
    with traffic(address=shop.address, host=HOST, rate=100, patience=1.0) as sent:
        os.kill(process, signal.SIGSTOP)
        hung = sent.elapsed()
        try:
            with screen.after("out of nginx"):
                shop.wait_backends(2)
            out = sent.elapsed() + 1.0
            wait_for(lambda: sent.elapsed() > out + 2.0, what="two seconds of traffic")
        finally:
            os.kill(process, signal.SIGCONT)
        with screen.after("back in nginx", more=" (it goes on: kill -CONT)"):
            shop.wait_backends(3)
    late = [failure for failure in sent.failures if failure.at > out]
    line("requests", f"{sent.requests}, {len(sent.failures)} failed")
    line("", f"all of them sent in the first {out - hung:.1f} s" if not late else "also later")
    return len(late)


def scale(shop: Shop, count: int) -> None:
    """Scale the application."""
    shop.cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{APP}", f"--replicas={count}")


def names(shop: Shop) -> set[str]:
    """Names of the application's pods that are not on their way out."""
    return {str(pod["metadata"]["name"]) for pod in shop.app_pods()}


def show_backends(shop: Shop) -> None:
    """nginx's backends with the pods behind them."""
    pods = {f"{pod['status'].get('podIP')}:8080": pod for pod in shop.app_pods()}
    rows: list[tuple[str, ...]] = [("BACKEND", "POD", "NODE")]
    for address in sorted(shop.backends()):
        pod = pods.get(address)
        rows.append(
            (address, pod["metadata"]["name"], pod["spec"]["nodeName"])
            if pod
            else (address, "", "")
        )
    table(rows)
