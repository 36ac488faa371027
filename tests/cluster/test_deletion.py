"""Deleting in any order hangs nothing, and leaves nothing."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from cluster.support.release import CRDS
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

NAMESPACE = "bye"
CHILDREN = "configmap,deployment,service,serviceaccount,role,rolebinding,pod"
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata:
  name: bye
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: consul-nginx.dev/v1alpha1
kind: LoadBalancer
metadata: {name: gone, namespace: bye}
spec:
  listeners: [{name: http, port: 80}]
  deployment: {replicas: 1}
---
apiVersion: consul-nginx.dev/v1alpha1
kind: ServiceMapping
metadata: {name: gone, namespace: bye}
spec:
  loadBalancerRef: {name: gone}
  listener: http
  backends: [{service: nobody}]
"""


@pytest.fixture
def doomed(cluster: Cluster, release: Release) -> Iterator[None]:
    """A LoadBalancer with a mapping, programmed, in a namespace of their own."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    cluster.kubectl("wait", "-n", NAMESPACE, "nlb/gone", "--for=condition=Ready", "--timeout=90s")
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s")
    release.install()


def ours(cluster: Cluster) -> list[str]:
    """What the operator made, as far as it is still there."""
    words = ("get", CHILDREN, "-n", NAMESPACE, "-o", "json")
    selector = "--selector=app.kubernetes.io/managed-by=consul-nginx-operator"
    items = json.loads(cluster.kubectl(*words, selector))["items"]
    return [f"{item['kind']}/{item['metadata']['name']}" for item in items]


def delete_mapping(cluster: Cluster, release: Release) -> None:
    cluster.kubectl("delete", "-n", NAMESPACE, "smap/gone", "--timeout=30s")


def delete_load_balancer(cluster: Cluster, release: Release) -> None:
    cluster.kubectl("delete", "-n", NAMESPACE, "nlb/gone", "--timeout=30s")


def uninstall(cluster: Cluster, release: Release) -> None:
    release.uninstall()


@pytest.mark.parametrize(
    "steps",
    list(permutations((delete_mapping, delete_load_balancer, uninstall))),
    ids=lambda steps: ", ".join(step.__name__ for step in steps),
)
def test_in_any_order_everything_goes(cluster: Cluster, release: Release, doomed: None, steps):
    for step in steps:
        step(cluster, release)
    wait_for(lambda: not ours(cluster), what="all children are gone", seconds=90)


def test_a_namespace_goes_with_everything_in_it(cluster: Cluster, doomed: None):
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")


def test_the_kinds_themselves_go_while_objects_exist(
    cluster: Cluster, release: Release, doomed: None
):
    """Deletes every LoadBalancer of the cluster: the shop is applied anew by whoever needs it."""
    cluster.kubectl("delete", "-f", str(CRDS), "--timeout=60s")
    wait_for(lambda: not ours(cluster), what="all children are gone", seconds=90)


def test_an_operator_that_outlives_its_kinds_works_again_when_they_return(
    cluster: Cluster, release: Release, doomed: None
):
    cluster.kubectl("delete", "-f", str(CRDS), "--timeout=60s")
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "-f", str(CRDS), "--for=condition=Established", "--timeout=30s")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    cluster.kubectl("wait", "-n", NAMESPACE, "nlb/gone", "--for=condition=Ready", "--timeout=90s")
