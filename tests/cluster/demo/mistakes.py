"""What people do wrong: a mapping that can't be used, and edits of what is the operator's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster.demo import figures, screen
from cluster.harness.report import heading
from cluster.support.shop import HOST, LOAD_BALANCER, NAMESPACE
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.support.release import Release
    from cluster.support.shop import Shop

NAME = "news"
MAPPING = {
    "apiVersion": "consul-nginx.dev/v1alpha1",
    "kind": "ServiceMapping",
    "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {
        "loadBalancerRef": {"name": LOAD_BALANCER},
        "listener": "htpp",
        "hostnames": ["news.example.com"],
        "backends": [{"service": "my-web-server"}],
    },
}
OF_MAPPING = f"--field-selector=involvedObject.name={NAME}"
CONFIG_MAP = f"{LOAD_BALANCER}-config"


def show_a_mistake(shop: Shop, release: Release) -> int:
    """A mapping with a slip of the pen is rejected, says why, and is accepted once it is right."""
    kubectl = shop.cluster.kubectl
    heading("\nA mapping names a listener that there is not")
    with traffic(address=shop.address, host=HOST) as sent:
        kubectl("delete", "events", "-n", NAMESPACE, OF_MAPPING)  # of an earlier demo
        try:
            kubectl.apply([MAPPING])
            wait_events(shop, 1)
            look(shop)
            figures.show_of_operator(release, "consul_nginx_rejected_objects")
            heading("\nIt is corrected")
            with screen.after("served"):
                patch = json.dumps({"spec": {"listener": "http"}})
                kubectl("patch", "-n", NAMESPACE, f"smap/{NAME}", "--type=merge", "-p", patch)
                wait = ("wait", "-n", NAMESPACE, f"smap/{NAME}", "--for=condition=Programmed")
                kubectl(*wait, "--timeout=60s")
            wait_events(shop, 4)
            look(shop)
        finally:
            kubectl("delete", "-n", NAMESPACE, f"smap/{NAME}", "--ignore-not-found")
    return screen.failures(sent)


def show_hand_edits(shop: Shop) -> int:
    """What somebody edits or deletes by hand is put right."""
    kubectl = shop.cluster.kubectl
    heading("\nSomebody edits nginx's configuration, scales its pods down, deletes the ConfigMap")
    before = shop.get("configmap", CONFIG_MAP)["data"]
    with traffic(address=shop.address, host=HOST) as sent:
        with screen.after("the edit is undone"):
            patch = json.dumps({"data": {"upstreams.conf": "broken {"}})
            words = ("patch", "-n", NAMESPACE, f"configmap/{CONFIG_MAP}", "--type=merge")
            kubectl(*words, "-p", patch)
            wait_for(
                lambda: (
                    shop.get("configmap", CONFIG_MAP)["data"]["upstreams.conf"]
                    == before["upstreams.conf"]
                ),
                what="the ConfigMap is as it was",
            )
        with screen.after("two pods again"):
            kubectl("scale", "-n", NAMESPACE, f"deployment/{LOAD_BALANCER}", "--replicas=1")
            wait_for(
                lambda: shop.get("deployment", LOAD_BALANCER)["spec"]["replicas"] == 2,
                what="the Deployment is as it was",
            )
        with screen.after("the ConfigMap is back"):
            kubectl("delete", "-n", NAMESPACE, f"configmap/{CONFIG_MAP}")
            words = ("get", "-n", NAMESPACE, f"configmap/{CONFIG_MAP}", "--ignore-not-found")
            wait_for(lambda: kubectl(*words, "-o", "name"), what="it is there again")
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{LOAD_BALANCER}")
        wait_for(shop.is_programmed, what="every nginx pod runs the newest bundle")
    return screen.failures(sent)


def look(shop: Shop) -> None:
    """What a user sees."""
    screen.kubectl(shop.cluster, "get", "smap", NAME, "-n", NAMESPACE)
    screen.kubectl(shop.cluster, "events", "--for", f"smap/{NAME}", "-n", NAMESPACE)


def wait_events(shop: Shop, count: int) -> None:
    """Wait until so many different Events of the mapping are there."""
    words = ("get", "events", "-n", NAMESPACE, OF_MAPPING, "-o", "name")
    wait_for(
        lambda: len(shop.cluster.kubectl(*words).split()) >= count, what=f"{count} Events are there"
    )
