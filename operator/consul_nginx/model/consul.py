"""What Consul knows, as the operator understands it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, order=True)
class ConsulSource:
    """A Consul to ask, and whose token to ask with.

    ``address`` empty: the operator's own, with the operator's token, which never goes to another.
    ``token_secret`` (namespace, name, key) is the Secret of a LoadBalancer's own token.
    """

    address: str = ""
    token_secret: tuple[str, str, str] | tuple[()] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class ServiceQuery:
    """Identity of a question to Consul; equal questions share one watch.

    ``tags`` must all be present on an instance, ``filter`` is an expression of Consul's.
    ``datacenter``, ``namespace`` and ``partition`` empty: the agent's and the token's own.
    """

    service: str
    tags: tuple[str, ...] = ()
    datacenter: str = ""
    filter: str = ""
    namespace: str = ""
    partition: str = ""
    source: ConsulSource = ConsulSource()

    def __str__(self) -> str:
        words = [f"{self.service}@{self.datacenter}" if self.datacenter else self.service]
        words += [f"tags {','.join(self.tags)}"] if self.tags else []
        words += [f"filter {self.filter}"] if self.filter else []
        words += [f"namespace {self.namespace}"] if self.namespace else []
        words += [f"partition {self.partition}"] if self.partition else []
        words += [f"at {self.source.address}"] if self.source.address else []
        return " ".join(words)


class Health(StrEnum):
    """Aggregated state of an instance: the worst of its checks and its node's.

    Maintenance mode is the worst of all (Consul: checks ``_node_maintenance`` and
    ``_service_maintenance:<id>``). Of a malformed one nothing is known but that it is there.
    """

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"
    MALFORMED = "malformed"


@dataclass(frozen=True, kw_only=True, order=True)
class Instance:
    """One registration of a service as Consul returned it; nothing in it is to be trusted."""

    id: str
    node: str
    address: str
    port: int
    health: Health
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is known about one query.

    ``instances`` is None as long as the query has never been answered: *unknown* is not *empty*.
    ``error`` says why the latest attempt failed, with ``failing_since`` in RFC 3339; None when
    ``instances`` is current. ``refused``: Consul answers, and will answer so until somebody changes
    the token or the query.
    """

    instances: tuple[Instance, ...] | None = None
    error: str | None = None
    failing_since: str | None = None
    refused: bool = False


UNKNOWN = Observation()

Snapshot = Mapping[ServiceQuery, Observation]
