"""The Kubernetes objects of a LoadBalancer. Pure: a LoadBalancer in, objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consul_nginx.kube.client import LOAD_BALANCER
from consul_nginx.kube.nginx_pod import NginxImage, pod_spec
from consul_nginx.model.bundle import SHARD_NUMBERS
from consul_nginx.model.encoding import Content, shard_name
from consul_nginx.model.kubernetes import GROUP, Access, IpFamily, LoadBalancer, ObjectRef, Workload

LABEL_LOAD_BALANCER = f"{GROUP}/load-balancer"
MANAGED_BY = "consul-nginx-operator"


def config_map_ref(load_balancer: ObjectRef) -> ObjectRef:
    """The ConfigMap that carries a LoadBalancer's bundle."""
    return ObjectRef(namespace=load_balancer.namespace, name=f"{load_balancer.name}-config")


def shard_ref(load_balancer: ObjectRef, number: int) -> ObjectRef:
    """The ConfigMap of one part of a bundle that is too large for one ConfigMap."""
    name = shard_name(config_map=config_map_ref(load_balancer).name, number=number)
    return ObjectRef(namespace=load_balancer.namespace, name=name)


def state_ref(load_balancer: ObjectRef) -> ObjectRef:
    """The ConfigMap that remembers what was accepted last."""
    return ObjectRef(namespace=load_balancer.namespace, name=f"{load_balancer.name}-state")


def selector_labels(load_balancer: ObjectRef) -> dict[str, str]:
    """Labels by which a LoadBalancer's pods are found."""
    return {
        "app.kubernetes.io/managed-by": MANAGED_BY,
        LABEL_LOAD_BALANCER: load_balancer.name,
    }


def selector(load_balancer: ObjectRef) -> str:
    """The same labels as a selector in text."""
    return ",".join(f"{key}={value}" for key, value in selector_labels(load_balancer).items())


def config_map(
    *,
    load_balancer: LoadBalancer,
    ref: ObjectRef,
    content: Content,
    resource_version: str | None,
) -> dict[str, Any]:
    """A ConfigMap of a bundle; ``resource_version`` is that of the one it replaces."""
    body = _config_map(load_balancer=load_balancer, ref=ref, resource_version=resource_version)
    return {**body, "data": dict(content.data), "binaryData": dict(content.binary_data)}


def state_config_map(
    *, load_balancer: LoadBalancer, data: Mapping[str, str], resource_version: str | None
) -> dict[str, Any]:
    """The ConfigMap of the memory; ``data`` is binary, in base64."""
    ref = state_ref(load_balancer.meta.ref)
    body = _config_map(load_balancer=load_balancer, ref=ref, resource_version=resource_version)
    return {**body, "binaryData": dict(data)}


def _config_map(
    *, load_balancer: LoadBalancer, ref: ObjectRef, resource_version: str | None
) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="v1", kind="ConfigMap")
    body["metadata"]["name"] = ref.name
    if resource_version is not None:
        body["metadata"]["resourceVersion"] = resource_version
    return body


def data_plane(
    *, load_balancer: LoadBalancer, image: NginxImage, secrets: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Everything but the ConfigMaps, in the order in which it is applied.

    ``secrets`` are names of those that nginx needs: its agents may read them. The operator has to
    have that right itself, or the API server refuses the Role.
    """
    is_deployment = load_balancer.pods.workload is Workload.DEPLOYMENT
    workload = _deployment if is_deployment else _daemon_set
    return [
        _service_account(load_balancer),
        _role(load_balancer, secrets=secrets),
        _role_binding(load_balancer),
        *([_service(load_balancer)] if load_balancer.access is Access.SERVICE else []),
        # Kubernetes can't count for one the pods of a DaemonSet, which draining spares anyway.
        *([_disruption_budget(load_balancer)] if is_deployment else []),
        workload(load_balancer=load_balancer, image=image),
    ]


def _object(*, load_balancer: LoadBalancer, api_version: str, kind: str) -> dict[str, Any]:
    meta = load_balancer.meta
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": meta.ref.name,
            "namespace": meta.ref.namespace,
            "labels": {"app.kubernetes.io/name": "nginx", **selector_labels(meta.ref)},
            "ownerReferences": [
                {
                    "apiVersion": LOAD_BALANCER.api_version,
                    "kind": LOAD_BALANCER.kind,
                    "name": meta.ref.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
    }


def _service_account(load_balancer: LoadBalancer) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="v1", kind="ServiceAccount")
    return {**body, "automountServiceAccountToken": False}


def _role(load_balancer: LoadBalancer, *, secrets: Sequence[str]) -> dict[str, Any]:
    """The agent may read its own ConfigMap, its shards and Secrets by name, and nothing else."""
    body = _object(
        load_balancer=load_balancer, api_version="rbac.authorization.k8s.io/v1", kind="Role"
    )
    return {
        **body,
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [config_map_ref(load_balancer.meta.ref).name],
                "verbs": ["get", "list", "watch"],
            },
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [
                    shard_ref(load_balancer.meta.ref, number).name for number in SHARD_NUMBERS
                ],
                "verbs": ["get"],
            },
            # Without names, it would be every Secret.
            *([_reading(secrets)] if secrets else []),
        ],
    }


def _reading(secrets: Sequence[str]) -> dict[str, Any]:
    return {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": list(secrets),
        "verbs": ["get"],
    }


def _role_binding(load_balancer: LoadBalancer) -> dict[str, Any]:
    body = _object(
        load_balancer=load_balancer, api_version="rbac.authorization.k8s.io/v1", kind="RoleBinding"
    )
    ref = load_balancer.meta.ref
    return {
        **body,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": ref.name,
        },
        "subjects": [{"kind": "ServiceAccount", "name": ref.name, "namespace": ref.namespace}],
    }


def _service(load_balancer: LoadBalancer) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="v1", kind="Service")
    if load_balancer.service.annotations:
        body["metadata"]["annotations"] = dict(load_balancer.service.annotations)
    return {
        **body,
        "spec": {
            "type": load_balancer.service.type,
            **_ip_families(load_balancer),
            "selector": selector_labels(load_balancer.meta.ref),
            "ports": [
                {
                    "name": listener.name,
                    "port": listener.port,
                    "targetPort": listener.port,
                    "protocol": listener.protocol.transport,
                }
                for listener in load_balancer.listeners
            ],
        },
    }


def _ip_families(load_balancer: LoadBalancer) -> dict[str, Any]:
    """IPv4 alone is the cluster's default; of both, a Service has what the cluster has."""
    families = load_balancer.ip_families
    if families == (IpFamily.V4,):
        return {}
    if len(families) > 1:
        return {"ipFamilyPolicy": "PreferDualStack"}
    return {"ipFamilyPolicy": "SingleStack", "ipFamilies": [str(family) for family in families]}


def _disruption_budget(load_balancer: LoadBalancer) -> dict[str, Any]:
    """Draining nodes takes one nginx pod at a time; one that is broken anyway holds up nobody."""
    body = _object(load_balancer=load_balancer, api_version="policy/v1", kind="PodDisruptionBudget")
    return {
        **body,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector_labels(load_balancer.meta.ref)},
        },
    }


def _deployment(*, load_balancer: LoadBalancer, image: NginxImage) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="apps/v1", kind="Deployment")
    return {
        **body,
        "spec": {
            "replicas": load_balancer.pods.replicas,
            "selector": {"matchLabels": selector_labels(load_balancer.meta.ref)},
            "strategy": _rolling_update(load_balancer),
            "template": _template(load_balancer=load_balancer, image=image),
        },
    }


def _daemon_set(*, load_balancer: LoadBalancer, image: NginxImage) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="apps/v1", kind="DaemonSet")
    return {
        **body,
        "spec": {
            "selector": {"matchLabels": selector_labels(load_balancer.meta.ref)},
            "updateStrategy": _rolling_update(load_balancer),
            "template": _template(load_balancer=load_balancer, image=image),
        },
    }


def _rolling_update(load_balancer: LoadBalancer) -> dict[str, Any]:
    """Where pods take ports of their node, a new one needs the place of an old one."""
    takes_ports = load_balancer.access is not Access.SERVICE
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": int(takes_ports), "maxSurge": int(not takes_ports)},
    }


def _template(*, load_balancer: LoadBalancer, image: NginxImage) -> dict[str, Any]:
    labels = selector_labels(load_balancer.meta.ref)
    metadata: dict[str, Any] = {
        "labels": {**load_balancer.pods.labels, "app.kubernetes.io/name": "nginx", **labels}
    }
    if load_balancer.pods.annotations:
        metadata["annotations"] = dict(load_balancer.pods.annotations)
    return {
        "metadata": metadata,
        "spec": pod_spec(
            load_balancer=load_balancer,
            image=image,
            labels=labels,
            config_map=config_map_ref(load_balancer.meta.ref).name,
        ),
    }
