"""Operators that register pods, each a release of its own beside the one of all other tests."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.support.release import NAME, NAMESPACE, Release
from cluster.support.shop import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster

_WRITES = "consul_nginx_registration_writes_total"


@contextmanager
def registrar(
    *, cluster: Cluster, name: str, namespaces: tuple[str, ...], **values: str
) -> Iterator[Release]:
    """An operator for the cluster name ``name`` and some namespaces, which are made with it.

    At the end it takes its registrations with it, unless a test has uninstalled it before.
    """
    cluster.kubectl.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": item}}
            for item in namespaces
        ]
    )
    release = Release(cluster=cluster, name=f"{name}-{NAME}", namespace=f"{name}-operator")
    try:
        release.install(
            **{
                "registration.clusterName": name,
                "registration.onUninstall": "remove",
                "namespaces": f"{{{','.join(namespaces)}}}",
                **values,
            }
        )
        yield release
    finally:
        if json.loads(release.helm("list", "--output=json")):
            release.uninstall()
        cluster.kubectl("delete", "namespace", "--wait=false", release.namespace, *namespaces)


@contextmanager
def nobody_else(cluster: Cluster) -> Iterator[None]:
    """The release that all other tests use registers nothing while the context lasts."""
    deployment = ("-n", NAMESPACE, f"deployment/{NAME}")
    words = ("get", *deployment, "--ignore-not-found", "-o", "jsonpath={.spec.replicas}")
    replicas = cluster.kubectl(*words, check=False)
    if not replicas:
        yield
        return
    scale(cluster, Release(cluster=cluster), 0)
    try:
        yield
    finally:
        scale(cluster, Release(cluster=cluster), int(replicas))


def scale(cluster: Cluster, release: Release, count: int) -> None:
    """Have ``count`` operators, and wait until they are ready, or gone."""
    deployment = f"deployment/{release.name}"
    cluster.kubectl("scale", "-n", release.namespace, deployment, f"--replicas={count}")
    if count:
        words = ("rollout", "status", "-n", release.namespace, deployment, "--timeout=60s")
        cluster.kubectl(*words)
    else:
        # One on its way out still sees what a test does next.
        gone = (f"--selector=app.kubernetes.io/name={NAME}", "--for=delete", "--timeout=60s")
        cluster.kubectl("wait", "pod", "-n", release.namespace, *gone)


def metric(release: Release, name: str) -> float:
    """Sum of all series of a metric over all operators of a release."""
    return sum(
        float(line.rpartition(" ")[2])
        for pod in release.operator_pods()
        for line in fetch(f"http://{pod['status']['podIP']}:8080/metrics").splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
    )


def writes(release: Release) -> float:
    """Writes of registrations so far, whatever came of them."""
    return metric(release, _WRITES)
