"""What people declare, as the operator understands it: validated, defaulted, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consul_nginx.model.config_map import ConfigMapKey
from consul_nginx.model.consul import ConsulSource
from consul_nginx.model.listener import Listener
from consul_nginx.model.namespaces import AllowedNamespaces, NamespacesFrom

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


class Workload(StrEnum):
    """What runs the nginx pods."""

    DEPLOYMENT = "Deployment"
    DAEMON_SET = "DaemonSet"


class Access(StrEnum):
    """How traffic gets to the nginx pods."""

    SERVICE = "Service"
    HOST_PORT = "HostPort"
    HOST_NETWORK = "HostNetwork"


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """How the nginx pods are run; ``replicas`` is a Deployment's."""

    workload: Workload
    replicas: int
    resources: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    priority_class: str = ""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The Kubernetes Service in front of the nginx pods."""

    type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How changes are gathered into one reload, in seconds; the first one goes out at once.

    What follows waits until ``quiet_period`` passed without another, at most ``max_delay``. Two
    reloads are never closer than ``min_interval``.
    """

    quiet_period: float
    max_delay: float
    min_interval: float


@dataclass(frozen=True, kw_only=True)
class ReloadSettings:
    """Times around a reload, in seconds.

    ``keepalive_grace`` is nginx's ``keepalive_min_timeout``: how long an old worker still answers
    on idle keep-alive connections. ``shutdown_timeout`` is ``worker_shutdown_timeout``.
    """

    keepalive_grace: float
    shutdown_timeout: float
    batching: Batching


class IpFamily(StrEnum):
    """Kind of addresses that nginx listens on."""

    V4 = "IPv4"
    V6 = "IPv6"


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """An nginx deployment and the listeners it offers.

    ``datacenter`` is that of backends which name none. A paused one is watched and planned, and
    nothing of it is written. ``template`` and ``stream_template`` write what all listeners of
    nginx's one and other world would be.
    """

    meta: Meta
    paused: bool
    consul: ConsulSource
    datacenter: str
    listeners: tuple[Listener, ...]
    template: ConfigMapKey | None
    stream_template: ConfigMapKey | None
    ip_families: tuple[IpFamily, ...]
    allowed_namespaces: AllowedNamespaces
    access: Access
    pods: PodSettings
    service: ServiceSettings
    reload: ReloadSettings

    @property
    def chooses_by_labels(self) -> bool:
        """Whether labels of namespaces decide about mappings."""
        own = (listener.allowed_namespaces for listener in self.listeners)
        every = (self.allowed_namespaces, *own)
        return any(item and item.come_from is NamespacesFrom.SELECTOR for item in every)
