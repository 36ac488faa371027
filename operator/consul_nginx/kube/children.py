"""The Kubernetes objects of a LoadBalancer's nginx pods. Pure: a LoadBalancer in, objects out.

Nothing that changes in daily life (listener ports, endpoints, certificates) is in the pod
template: each change of it would roll the whole fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consul_nginx.kube.client import LOAD_BALANCER
from consul_nginx.model.kubernetes import GROUP, LoadBalancer, ObjectRef
from consul_nginx.model.layout import AGENT_PORT, AGENT_UID, NGINX_UID, SHARED_GID, Layout

PRE_STOP_S = 5
LABEL_LOAD_BALANCER = f"{GROUP}/load-balancer"
MANAGED_BY = "consul-nginx-operator"

_TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_PYTHON = "/opt/consul-nginx/bin/python"


def config_map_ref(load_balancer: ObjectRef) -> ObjectRef:
    """The ConfigMap that carries a LoadBalancer's bundle."""
    return ObjectRef(namespace=load_balancer.namespace, name=f"{load_balancer.name}-config")


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
    *, load_balancer: LoadBalancer, data: Mapping[str, str], resource_version: str | None
) -> dict[str, Any]:
    """The ConfigMap of a bundle; ``resource_version`` is that of the one it replaces."""
    ref = config_map_ref(load_balancer.meta.ref)
    body = _config_map(load_balancer=load_balancer, ref=ref, resource_version=resource_version)
    return {**body, "data": dict(data)}


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


def data_plane(*, load_balancer: LoadBalancer, image: str) -> list[dict[str, Any]]:
    """Everything but the ConfigMap, in the order in which it is applied."""
    return [
        _service_account(load_balancer),
        _role(load_balancer),
        _role_binding(load_balancer),
        _service(load_balancer),
        _disruption_budget(load_balancer),
        _deployment(load_balancer=load_balancer, image=image),
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


def _role(load_balancer: LoadBalancer) -> dict[str, Any]:
    """The agent may read its own ConfigMap by name and nothing else."""
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
            }
        ],
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


def _deployment(*, load_balancer: LoadBalancer, image: str) -> dict[str, Any]:
    body = _object(load_balancer=load_balancer, api_version="apps/v1", kind="Deployment")
    labels = selector_labels(load_balancer.meta.ref)
    return {
        **body,
        "spec": {
            "replicas": load_balancer.pods.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": "nginx", **labels}},
                "spec": _pod(load_balancer=load_balancer, image=image, labels=labels),
            },
        },
    }


def _pod(*, load_balancer: LoadBalancer, image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "serviceAccountName": load_balancer.meta.ref.name,
        # Only the agent gets a token, by a volume that only it mounts.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": PRE_STOP_S + load_balancer.reload.shutdown_timeout + 5,
        "securityContext": {
            "runAsNonRoot": True,
            # containerd refuses a pod's sandbox that has a group without a user.
            "runAsUser": NGINX_UID,
            "runAsGroup": SHARED_GID,
            "fsGroup": SHARED_GID,
            "seccompProfile": {"type": "RuntimeDefault"},
            # Port 80 without any capability.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(labels)},
            }
        ],
        "initContainers": [_agent(load_balancer=load_balancer, image=image)],
        "containers": [_nginx(load_balancer=load_balancer, image=image)],
        "volumes": [
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
            {"name": "temp", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "api-token", "projected": {"defaultMode": 0o440, "sources": _TOKEN_SOURCES}},
        ],
    }


_TOKEN_SOURCES: list[dict[str, Any]] = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {
        "configMap": {
            "name": "kube-root-ca.crt",
            "items": [{"key": "ca.crt", "path": "ca.crt"}],
        }
    },
]

_RUN_MOUNT = {"name": "run", "mountPath": str(Layout().root)}


def _security(uid: int) -> dict[str, Any]:
    return {
        "runAsUser": uid,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _http_probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": AGENT_PORT}, "timeoutSeconds": 2, **timing}


def _agent(*, load_balancer: LoadBalancer, image: str) -> dict[str, Any]:
    """Native sidecar: starts first, and nginx only once a bundle is unpacked."""
    return {
        "name": "agent",
        "image": image,
        "restartPolicy": "Always",
        "command": [_PYTHON, "-m", "consul_nginx.agent"],
        "env": [
            {"name": "CONFIGMAP_NAME", "value": config_map_ref(load_balancer.meta.ref).name},
            {
                "name": "POD_NAMESPACE",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
            },
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [{"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "startupProbe": _http_probe("/startedz", periodSeconds=1, failureThreshold=600),
        "livenessProbe": _http_probe("/healthz", periodSeconds=10, failureThreshold=6),
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": _security(AGENT_UID),
        "volumeMounts": [
            _RUN_MOUNT,
            {"name": "api-token", "mountPath": _TOKEN_FOLDER, "readOnly": True},
        ],
    }


def _nginx(*, load_balancer: LoadBalancer, image: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "nginx",
        "image": image,
        "command": [_PYTHON, "-m", "consul_nginx.agent.supervisor"],
        "readinessProbe": _http_probe("/readyz", periodSeconds=2, failureThreshold=2),
        # Endpoints of Services forget a pod a moment after it began to stop: serve on that long.
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "securityContext": _security(NGINX_UID),
        "volumeMounts": [_RUN_MOUNT, {"name": "temp", "mountPath": str(Layout().temp)}],
    }
    if load_balancer.pods.resources:
        container["resources"] = dict(load_balancer.pods.resources)
    return container
