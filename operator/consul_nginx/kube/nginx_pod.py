"""The pod that nginx runs in: agent, nginx under its supervisor, and what they share. Pure.

Nothing that changes in daily life (listener ports, endpoints, certificates) is in it: each change
of the template rolls the whole fleet. With ``access: HostPort`` the ports have to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consul_nginx.model.kubernetes import Access, LoadBalancer
from consul_nginx.model.layout import AGENT_PORT, AGENT_UID, NGINX_UID, SHARED_GID, Layout

PRE_STOP_S = 5

_TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_PYTHON = "/opt/consul-nginx/bin/python"


@dataclass(frozen=True, kw_only=True)
class NginxImage:
    """Image of the nginx pods; ``pull_secrets`` name Secrets in the LoadBalancer's namespace."""

    name: str
    pull_secrets: tuple[str, ...] = ()


def pod_spec(
    *, load_balancer: LoadBalancer, image: NginxImage, labels: Mapping[str, str], config_map: str
) -> dict[str, Any]:
    """Spec of the pods; ``labels`` are those they are found by, ``config_map`` has their bundle."""
    pods, access = load_balancer.pods, load_balancer.access
    grace = PRE_STOP_S + math.ceil(load_balancer.reload.shutdown_timeout) + 5
    spec: dict[str, Any] = {
        "serviceAccountName": load_balancer.meta.ref.name,
        # Only the agent gets a token, by a volume that only it mounts.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            # containerd refuses a pod's sandbox that has a group without a user.
            "runAsUser": NGINX_UID,
            "runAsGroup": SHARED_GID,
            "fsGroup": SHARED_GID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(labels)},
            }
        ],
        "initContainers": [_agent(image=image, config_map=config_map)],
        "containers": [_nginx(load_balancer=load_balancer, image=image)],
        "volumes": [
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
            {"name": "temp", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "api-token", "projected": {"defaultMode": 0o440, "sources": _TOKEN_SOURCES}},
        ],
    }
    if image.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in image.pull_secrets]
    if access is Access.HOST_NETWORK:
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    else:
        # Port 80 without any capability; of the node's own network it can't be set.
        sysctl = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
        spec["securityContext"]["sysctls"] = [sysctl]
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.tolerations:
        spec["tolerations"] = [dict(item) for item in pods.tolerations]
    if pods.priority_class:
        spec["priorityClassName"] = pods.priority_class
    return spec


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


def _agent(*, image: NginxImage, config_map: str) -> dict[str, Any]:
    """Native sidecar: starts first, and nginx only once a bundle is unpacked."""
    return {
        "name": "agent",
        "image": image.name,
        "restartPolicy": "Always",
        "command": [_PYTHON, "-m", "consul_nginx.agent"],
        "env": [
            {"name": "CONFIGMAP_NAME", "value": config_map},
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


def _nginx(*, load_balancer: LoadBalancer, image: NginxImage) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "nginx",
        "image": image.name,
        "command": [_PYTHON, "-m", "consul_nginx.agent.supervisor"],
        "readinessProbe": _http_probe("/readyz", periodSeconds=2, failureThreshold=2),
        # Endpoints of Services forget a pod a moment after it began to stop: serve on that long.
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "securityContext": _security(NGINX_UID),
        "volumeMounts": [_RUN_MOUNT, {"name": "temp", "mountPath": str(Layout().temp)}],
    }
    if load_balancer.access is Access.HOST_PORT:
        container["ports"] = [
            {
                "containerPort": listener.port,
                "hostPort": listener.port,
                "protocol": listener.protocol.transport,
            }
            for listener in load_balancer.listeners
        ]
    if load_balancer.pods.resources:
        container["resources"] = dict(load_balancer.pods.resources)
    return container
