"""What Pods ask to have registered in Consul, and what Consul holds of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from consul_nginx.model.kubernetes import ObjectRef

# Keys of Meta that say whose a registration is. Consul keeps the prefix "consul-" to itself.
META_CLUSTER = "consul_nginx_cluster"
META_NAMESPACE = "consul_nginx_namespace"
META_POD = "consul_nginx_pod"
META_POD_UID = "consul_nginx_pod_uid"
MARKS = (META_CLUSTER, META_NAMESPACE, META_POD, META_POD_UID)


class Mode(StrEnum):
    """Where registrations are written.

    ``AGENT``: on the Consul agent of the Pod's own node, which runs the checks that CHECK_* asks
    for. ``CATALOG``: on a synthetic node in Consul's catalog; the Pod's readiness is its health.
    """

    AGENT = "agent"
    CATALOG = "catalog"


class Address(StrEnum):
    """What is registered for a port with a ``hostPort``: the Pod's address, or its node's."""

    POD = "pod"
    HOST = "host"


class IPFamily(StrEnum):
    """Which of a Pod's addresses is registered."""

    FIRST = ""
    IPV4 = "IPv4"
    IPV6 = "IPv6"


@dataclass(frozen=True, kw_only=True)
class RegistrationRule:
    """Which services some namespaces may register; ``*`` in a pattern stands for any text."""

    namespaces: tuple[str, ...]
    services: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings:
    """What whoever runs the operator says about registrations.

    ``cluster`` marks what is ours among several clusters that share a Consul. ``explicit``: only
    what a Pod gives a NAME is registered. ``tags`` are added to everybody's. ``esm``: CHECK_* are
    written in catalog mode too, for consul-esm to run. ``allowed_ips`` are the networks that
    SERVICE_IP may be in, ``rules`` say who may register what; None: no restriction.
    ``all_pods_in`` are labels of the namespaces whose Pods are registered without annotations too;
    None: of none.
    """

    cluster: str
    mode: Mode = Mode.CATALOG
    explicit: bool = False
    address: Address = Address.POD
    ip_family: IPFamily = IPFamily.FIRST
    tags: tuple[str, ...] = ()
    esm: bool = False
    allowed_ips: tuple[IPv4Network | IPv6Network, ...] | None = None
    rules: tuple[RegistrationRule, ...] | None = None
    all_pods_in: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerPort:
    """A port that a container declares; ``host_port`` 0: none."""

    port: int
    protocol: str
    host_port: int = 0


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container, apart from init containers."""

    image: str
    ports: tuple[ContainerPort, ...]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The part of a Pod that registrations are made from.

    ``annotations`` are those that begin with ``SERVICE_``, or with that after our prefix, as they
    are written. ``controlled``: it was made by a controller, and others may be made from the same
    template. ``node``, ``node_ips`` and ``ips`` are empty as long as they are not known.
    ``leaving``: it was told to end, or has ended.
    """

    ref: ObjectRef
    uid: str
    created: str
    annotations: Mapping[str, str]
    controlled: bool
    containers: tuple[Container, ...]
    host_network: bool
    node: str
    node_ips: tuple[str, ...]
    ips: tuple[str, ...]
    ready: bool
    leaving: bool


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose a registration is, as its Meta says."""

    cluster: str
    namespace: str
    pod: str
    pod_uid: str

    def marks(self) -> dict[str, str]:
        """As pairs of Meta."""
        return dict(zip(MARKS, (self.cluster, self.namespace, self.pod, self.pod_uid), strict=True))


@dataclass(frozen=True, kw_only=True)
class Check:
    """What CHECK_* asks for.

    ``definition`` has Consul's own keys and values, such as ``{"HTTP": "http://…", "Interval":
    "10s"}``, without ``Status``; ``initial_status`` counts once the Pod is ready.
    """

    definition: Mapping[str, Any]
    initial_status: str = "critical"

    @property
    def ttl(self) -> str | None:
        """The duration, when this is a TTL check: then it is readiness that is meant."""
        found = self.definition.get("TTL")
        return None if found is None else str(found)

    @property
    def fingerprint(self) -> str:
        """Equal for equal definitions. Consul tells no definition back, but a check's notes."""
        text = json.dumps(self.definition, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Content:
    """A registration as it is compared: what is equal needs no write.

    ``checks`` are fingerprints of the checks that CHECK_* asks for and that are written.
    """

    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    weight: int = 1
    enable_tag_override: bool = False
    checks: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What a Pod asks for, for one of its ports.

    ``check`` is what CHECK_* asks for; whether it is written says ``content.checks``. ``ready`` is
    the Pod's readiness, written as a check of its own.
    """

    content: Content
    owner: Owner
    check: Check | None
    ready: bool
    created: str


@dataclass(frozen=True, kw_only=True)
class PodWarning:
    """What the author of a Pod should know; ``reason`` is one of few words, in CamelCase."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one Pod asks for, and what is to be said about it."""

    registrations: tuple[Registration, ...] = ()
    warnings: tuple[PodWarning, ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """A Kubernetes node and its address, empty when it isn't known."""

    node: str
    ip: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A registration as Consul holds it.

    ``owner`` None: it has no mark of ours. ``ready`` is what the readiness check says, None when
    there is none. ``version`` and ``ready_version`` are Consul's ModifyIndex of the service and of
    that check, 0 where an agent knows none.
    """

    content: Content
    owner: Owner | None
    ready: bool | None
    version: int = 0
    ready_version: int = 0


@dataclass(frozen=True, kw_only=True)
class Change:
    """One write; ``before`` is what Consul holds under the ID, None when nothing."""

    before: Held | None
    after: Registration


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The difference for one node.

    ``register``: the whole registration is written; ``readiness``: only that check; ``remove``:
    what is held, only if it still is as it was read. ``taken``: nothing is written, because
    somebody else has the ID.
    """

    register: tuple[Change, ...] = ()
    readiness: tuple[Change, ...] = ()
    remove: tuple[Held, ...] = ()
    taken: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.register or self.readiness or self.remove)
