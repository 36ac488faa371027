"""Deleting in any order hangs nothing, and leaves nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, dropwhile, permutations, takewhile
from typing import TYPE_CHECKING

import pytest

from cluster.support.release import CRDS
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

CHILDREN = (
    "configmap", "deployment", "service", "serviceaccount", "role", "rolebinding",
    "poddisruptionbudget", "pod",
)  # fmt: skip
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
  labels: {{pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: consul-nginx.dev/v1alpha1
kind: LoadBalancer
metadata: {{name: gone, namespace: {namespace}}}
spec:
  listeners: [{{name: http, port: 80}}]
  deployment: {{replicas: 1}}
  # A namespace waits for half of its pods' grace period, which is longer than this.
  reload: {{shutdownTimeout: 3s}}
---
apiVersion: consul-nginx.dev/v1alpha1
kind: ServiceMapping
metadata: {{name: gone, namespace: {namespace}}}
spec:
  loadBalancerRef: {{name: gone}}
  listener: http
  backends: [{{service: nobody}}]
"""


NUMBERS = count(1)


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """A LoadBalancer with a mapping, in a namespace of their own."""

    cluster: Cluster
    namespace: str

    def apply(self) -> None:
        words = ("apply", "--server-side", "-f", "-")
        self.cluster.kubectl(*words, stdin=MANIFEST.format(namespace=self.namespace))

    def wait_ready(self) -> None:
        words = ("nlb/gone", "--for=condition=Ready", "--timeout=90s")
        self.cluster.kubectl("wait", *self.within, *words)

    @property
    def within(self) -> tuple[str, str]:
        return ("-n", self.namespace)

    def delete_mapping(self) -> None:
        self.cluster.kubectl("delete", *self.within, "smap/gone", "--timeout=30s")

    def delete_load_balancer(self) -> None:
        self.cluster.kubectl("delete", *self.within, "nlb/gone", "--timeout=30s")

    def children(self) -> list[str]:
        """What the operator made, as far as it is still there."""
        labels = "app.kubernetes.io/managed-by=consul-nginx-operator"
        return [
            f"{kind}/{item['metadata']['name']}"
            for kind in CHILDREN
            for item in self.cluster.read.all(kind, namespace=self.namespace, labels=labels)
        ]


@contextmanager
def all_doomed(cluster: Cluster, count: int) -> Iterator[list[Doomed]]:
    """Applied and ready; whatever is left of it goes afterwards."""
    found = [Doomed(cluster=cluster, namespace=f"bye-{next(NUMBERS)}") for _ in range(count)]
    for doomed in found:
        doomed.apply()
    for doomed in found:
        doomed.wait_ready()
    try:
        yield found
    finally:
        names = [doomed.namespace for doomed in found]
        cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false")


@pytest.fixture
def doomed(cluster: Cluster, release: Release) -> Iterator[Doomed]:
    """One."""
    with all_doomed(cluster, 1) as [found]:
        yield found


@pytest.fixture
def shop_applied_again(installed_shop: Shop) -> Iterator[None]:
    """The kinds of the whole cluster are deleted: the shop gets its objects back afterwards."""
    yield
    installed_shop.apply()


UNINSTALL = None  # the step that all share
ORDERS = list(permutations((Doomed.delete_mapping, Doomed.delete_load_balancer, UNINSTALL)))


def described(steps: Sequence[Callable[[Doomed], None] | None]) -> str:
    return ", ".join(step.__name__ if step else "uninstall" for step in steps)


def test_in_any_order_everything_goes(cluster: Cluster, release: Release):
    """A namespace for each order; the operator, which they share, goes in the middle of all."""
    with all_doomed(cluster, len(ORDERS)) as every:
        for doomed, steps in zip(every, ORDERS, strict=True):
            for step in takewhile(bool, steps):
                step(doomed)
        release.uninstall()
        try:
            for doomed, steps in zip(every, ORDERS, strict=True):
                for step in filter(None, dropwhile(bool, steps)):
                    step(doomed)
            for doomed, steps in zip(every, ORDERS, strict=True):
                wait_for(
                    lambda left=doomed: not left.children(),
                    what=f"all children are gone after {described(steps)}",
                    seconds=90,
                )
        finally:
            release.install()


def test_in_the_foreground_everything_goes(doomed: Doomed):
    words = ("delete", *doomed.within, "nlb/gone", "--cascade=foreground", "--timeout=60s")
    doomed.cluster.kubectl(*words)
    wait_for(lambda: not doomed.children(), what="all children are gone", seconds=90)


def test_a_namespace_goes_with_everything_in_it(doomed: Doomed):
    doomed.cluster.kubectl("delete", "namespace", doomed.namespace, "--timeout=90s")


def test_the_kinds_themselves_go_and_the_operator_works_again_when_they_return(
    shop_applied_again: None, doomed: Doomed
):
    kubectl = doomed.cluster.kubectl
    kubectl("delete", "-f", str(CRDS), "--timeout=60s")
    wait_for(lambda: not doomed.children(), what="all children are gone", seconds=90)
    kubectl("apply", "--server-side", "-f", str(CRDS))
    kubectl("wait", "-f", str(CRDS), "--for=condition=Established", "--timeout=30s")
    doomed.apply()
    doomed.wait_ready()
