"""`make demo`: the product's main job, live, as a person would want to see it.

python -m cluster.demo        needs the cluster of `make cluster`
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from cluster.harness.cluster import Cluster
from cluster.harness.report import HarnessError, heading, line, table
from cluster.support.registration import agent_request
from cluster.support.release import Release
from cluster.support.shop import APP, HOST, NAMESPACE, Shop
from cluster.support.traffic import Traffic, traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/features"
GRACE_S = 3.0  # keepaliveGrace, and the old workers' last answers


def main() -> int:
    """Run the demo; 0 when everything was seen as it should be."""
    begun = time.monotonic()
    try:
        cluster = Cluster.load()
        shop = install(cluster)
        show_rotation(shop)
        failures = show_stop_and_start(shop)
        failures += show_sick_and_well(shop)
    except (AssertionError, HarnessError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    what_next(cluster, shop)
    line("the demo took", f"{time.monotonic() - begun:.0f} s")
    return 1 if failures else 0


def install(cluster: Cluster) -> Shop:
    """The operator by Helm, the application and its LoadBalancer by kubectl."""
    heading("\nInstall")
    timed("operator", "helm install consul-nginx-operator", Release(cluster=cluster).install)
    shop = Shop(cluster)
    timed("application", "kubectl apply -f examples/", shop.apply)
    print()
    print(indented(cluster.kubectl("get", "consul-nginx", "-n", NAMESPACE)))
    return shop


def show_rotation(shop: Shop) -> None:
    """The backends that nginx has, and which pods answer."""
    heading("What nginx has from Consul")
    show_backends(shop)
    heading(f"\nRequests to http://{shop.address}{PATH} rotate")
    with traffic(address=shop.address, host=HOST, rate=100) as sent:
        wait_for(lambda: sent.requests >= 300, what="300 requests")
    show_answers(shop, sent)


def show_stop_and_start(shop: Shop) -> int:
    """One pod is stopped the ordinary way, then started again, under traffic."""
    heading("\nOne backend is stopped while 200 requests per second go on")
    with traffic(address=shop.address, host=HOST) as sent, shop.registration.following():
        before = names(shop)
        at = time.monotonic()
        scale(shop, 2)
        shop.wait_backends(2)
        line("gone from nginx", f"after {time.monotonic() - at:.1f} s")
        stopped = before - names(shop)
        left = sent.elapsed() + GRACE_S
        wait_for(lambda: sent.elapsed() > left + 1, what="a second of traffic")
        line("still reached?", "yes" if stopped & sent.pods_since(left) else "no")
        show_backends(shop)
        heading("\nIt is started again")
        at = time.monotonic()
        scale(shop, 3)
        shop.wait_backends(3)
        line(
            "back in nginx", f"after {time.monotonic() - at:.1f} s (start and first check included)"
        )
        back = sent.elapsed()
        new = names(shop) - before
        wait_for(lambda: new <= sent.pods_since(back), what="the new pod answers")
    show_backends(shop)
    return show_failures(sent)


def show_sick_and_well(shop: Shop) -> int:
    """One pod is put into maintenance in Consul, and out of it again."""
    heading("\nOne backend is put into Consul's maintenance mode, and out of it again")
    pod = sorted(names(shop))[0]
    agent, service = shop.registration.agent_of(pod), shop.registration.service_id(pod)
    path = f"/v1/agent/service/maintenance/{service}"
    with traffic(address=shop.address, host=HOST) as sent:
        for enable, count, word in (("true", 2, "out of nginx"), ("false", 3, "back in nginx")):
            at = time.monotonic()
            agent_request(agent, "PUT", f"{path}?enable={enable}")
            shop.wait_backends(count)
            line(word, f"after {time.monotonic() - at:.1f} s")
    return show_failures(sent)


def what_next(cluster: Cluster, shop: Shop) -> None:
    """What to try now, and how to stop."""
    env = cluster.settings.cluster_dir / "env"
    heading("\nThe cluster stays up. Try:")
    for command, why in (
        (f"source {env}", "kubectl, helm and consul for this cluster"),
        (f"kubectl get consul-nginx -n {NAMESPACE} -w", "what nginx serves, live"),
        (f"kubectl describe smap features -n {NAMESPACE}", "why, in words"),
        (f"curl -H 'Host: {HOST}' http://{shop.address}{PATH}", "through nginx"),
        (f"kubectl logs -n {NAMESPACE} deploy/edge -c nginx", "the access log"),
        (f"{cluster.consul_address}/ui/", "Consul's own view"),
        ("make cluster-down", "stop everything, leave nothing"),
    ):
        print(f"  {command:<62} {why}")
    print()


def timed(name: str, text: str, action: Callable[[], None]) -> None:
    """Do it and say how long it took."""
    at = time.monotonic()
    action()
    line(name, f"{text}  ({time.monotonic() - at:.0f} s)")


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


def show_answers(shop: Shop, sent: Traffic) -> None:
    """How many answers came from each pod."""
    table([("POD", "ANSWERS"), *((pod, str(n)) for pod, n in sorted(sent.by_pod.items()))])
    if set(sent.by_pod) != names(shop):
        raise AssertionError("not every pod answered")


def show_failures(sent: Traffic) -> int:
    """How many requests failed, and the first ones in words."""
    line("requests", f"{sent.requests}, {len(sent.failures)} failed")
    for failure in sent.failures[:5]:
        line("", f"at {failure.at:.3f} s: {failure.reason}")
    return len(sent.failures)


def indented(text: str) -> str:
    """Text two columns to the right."""
    return "".join(f"  {row}\n" for row in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
