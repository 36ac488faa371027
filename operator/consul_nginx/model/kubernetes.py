"""What people declare, as the operator understands it: validated, defaulted, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consul_nginx.model.consul import ServiceQuery

GROUP = "consul-nginx.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, kw_only=True, order=True)
class ObjectRef:
    """Identity of a namespaced object of a kind that is known from the context."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The part of an object's metadata that decisions are made from.

    ``created`` is the API server's RFC 3339 time stamp in UTC: it sorts as text.
    """

    ref: ObjectRef
    uid: str
    generation: int
    created: str


class Protocol(StrEnum):
    """What a listener speaks."""

    HTTP = "HTTP"
    TCP = "TCP"
    UDP = "UDP"

    @property
    def transport(self) -> str:
        """The protocol that its port belongs to: TCP and UDP count their ports apart."""
        return "UDP" if self is Protocol.UDP else "TCP"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A port that nginx listens on."""

    name: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """How the nginx pods are run."""

    replicas: int
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The Kubernetes Service in front of the nginx pods."""

    type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReloadSettings:
    """Times around a reload, in seconds.

    ``keepalive_grace`` is nginx's ``keepalive_min_timeout``: how long an old worker still answers
    on idle keep-alive connections. ``shutdown_timeout`` is ``worker_shutdown_timeout``.
    """

    keepalive_grace: int
    shutdown_timeout: int


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """An nginx deployment and the listeners it offers."""

    meta: Meta
    listeners: tuple[Listener, ...]
    pods: PodSettings
    service: ServiceSettings
    reload: ReloadSettings


@dataclass(frozen=True, kw_only=True)
class ServiceMapping:
    """What comes to one listener goes to one Consul service.

    On a listener that speaks HTTP: requests for the host names, all of them when there are none,
    below the path.
    """

    meta: Meta
    load_balancer: ObjectRef
    listener: str
    hostnames: tuple[str, ...]
    path_prefix: str
    backend: ServiceQuery
