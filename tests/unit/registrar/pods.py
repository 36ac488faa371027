"""Pods and settings as tests write them: short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from consul_nginx.model.registration import (
    Mode,
    RegistrationRule,
    RegistrationSettings,
)

Raw = dict[str, Any]


def pod_raw(
    *,
    annotations: Mapping[str, Any] | None = None,
    ports: Iterable[int | str] = (80,),
    name: str = "web-1",
    image: str = "example.com/web:1",
    ips: Iterable[str] = ("10.0.0.1",),
    node_ips: Iterable[str] = ("192.168.0.1",),
    ready: bool = True,
    leaving: bool = False,
    controlled: bool = False,
    host_network: bool = False,
    more_containers: Iterable[Mapping[str, Any]] = (),
    init_ports: Iterable[int] = (),
) -> Raw:
    """A Pod as the API server returns it; a port is 80, "53/udp", or "8080:80" with a hostPort."""
    containers = [{"image": image, "ports": list(ports)}, *more_containers]
    metadata: Raw = {
        "name": name,
        "namespace": "shop",
        "uid": "uid-1",
        "creationTimestamp": "2026-11-22T07:00:00Z",
        "annotations": dict(annotations or {}),
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-22T08:00:00Z"
    if controlled:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web", "controller": True}]
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": "node-a",
            "hostNetwork": host_network,
            "containers": [
                {**item, "ports": [_port(port) for port in item["ports"]]} for item in containers
            ],
            "initContainers": [
                {"image": "init", "restartPolicy": "Always", "ports": [_port(port)]}
                for port in init_ports
            ],
        },
        "status": {
            "phase": "Running",
            "hostIPs": [{"ip": ip} for ip in node_ips],
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def _port(text: int | str) -> Raw:
    left, _, protocol = str(text).partition("/")
    host, _, port = left.rpartition(":")
    found: Raw = {"containerPort": int(port), "protocol": (protocol or "tcp").upper()}
    return {**found, "hostPort": int(host)} if host else found


def settings(*, mode: str = "catalog", **fields: Any) -> RegistrationSettings:
    """The operator's settings; lists of texts for networks and rules."""
    if fields.get("allowed_ips") is not None:
        fields["allowed_ips"] = tuple(ip_network(text) for text in fields["allowed_ips"])
    if fields.get("rules") is not None:
        fields["rules"] = tuple(
            RegistrationRule(namespaces=tuple(rule["namespaces"]), services=tuple(rule["services"]))
            for rule in fields["rules"]
        )
    tags = tuple(fields.pop("tags", ()))
    return RegistrationSettings(cluster="c1", mode=Mode(mode), tags=tags, **fields)
