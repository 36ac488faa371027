"""What a Deployment or DaemonSet says of its pods. Pure."""

from __future__ import annotations

import re

from consul_nginx.kube.client import Raw

_POD_SECURITY = "violates PodSecurity"
_WAY_OUT = (
    "; spec.access HostPort and HostNetwork need a namespace with the label "
    "pod-security.kubernetes.io/enforce=privileged"
)


def desired_pods(workload: Raw | None) -> int:
    """Pods that it asks for."""
    if workload is None:
        return 0
    if workload["kind"] == "DaemonSet":
        return int(_status(workload).get("desiredNumberScheduled", 0))
    return int(workload["spec"]["replicas"])


def available_pods(workload: Raw) -> int:
    """Pods of its present template that are available; 0 until its controller looked at it."""
    status = _status(workload)
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return 0
    names = {
        "Deployment": ("updatedReplicas", "availableReplicas"),
        "DaemonSet": ("updatedNumberScheduled", "numberAvailable"),
    }
    return min(int(status.get(name, 0)) for name in names[workload["kind"]])


def can_replace(*, workload: Raw, superfluous: Raw) -> bool:
    """Whether ``workload`` does what a superfluous Service or workload was needed for.

    Where pods of both take ports of their nodes, there is no room for the last of the new ones
    until the old ones go.
    """
    desired = desired_pods(workload)
    if workload["kind"] == "DaemonSet" and desired == 0:
        return False  # on no node yet, or not looked at
    clash = takes_node_ports(workload) and takes_node_ports(superfluous)
    return available_pods(workload) >= desired - (desired_pods(superfluous) if clash else 0)


def takes_node_ports(raw: Raw) -> bool:
    """Whether its pods listen on ports of their nodes."""
    spec = raw.get("spec", {}).get("template", {}).get("spec", {})
    ports = [
        port for container in spec.get("containers", ()) for port in container.get("ports", ())
    ]
    return bool(spec.get("hostNetwork")) or any("hostPort" in port for port in ports)


def lacks_pods(daemon_set: Raw) -> bool:
    """Whether a DaemonSet has no pod on a node where one should be."""
    status = _status(daemon_set)
    wanted = int(status.get("desiredNumberScheduled", 0))
    return int(status.get("currentNumberScheduled", 0)) < wanted


def refused_pods(deployment: Raw) -> str | None:
    """Why a Deployment's pods can't be created, in the API server's words."""
    for condition in _status(deployment).get("conditions") or ():
        if (condition["type"], condition["status"]) == ("ReplicaFailure", "True"):
            return refusal_words(workload=deployment, words=str(condition.get("message", "")))
    return None


def refusal_words(*, workload: Raw, words: str) -> str:
    """A controller's words, the same at each attempt, with a way out where we know one."""
    kind, name = workload["kind"], workload["metadata"]["name"]
    text = re.sub(rf'"{re.escape(name)}-[a-z0-9-]+"', f'"{name}-…"', words)
    text = text.removeprefix("Error creating: ")
    return f"{kind} {name}: {text}{_WAY_OUT if _POD_SECURITY in text else ''}"


def _status(workload: Raw) -> Raw:
    status: Raw = workload.get("status") or {}
    return status
