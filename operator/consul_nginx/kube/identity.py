"""A name for the cluster that no other cluster has."""

from __future__ import annotations

from consul_nginx.kube.client import NAMESPACE, KubeClient
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.model.kubernetes import ObjectRef

_LENGTH = 8


async def cluster_identity(kube: KubeClient) -> str:
    """``k8s-`` and the begin of the uid of the namespace kube-system, which a cluster keeps.

    A default that two clusters share would have each remove the other's registrations from a Consul
    that both use. Raises ``KubeError``.
    """
    raw = await kube.get(NAMESPACE, ObjectRef(namespace="", name="kube-system"))
    if raw is None:
        raise KubeRefused("there is no namespace kube-system to take the cluster's identity from")
    return f"k8s-{raw['metadata']['uid'][:_LENGTH]}"
