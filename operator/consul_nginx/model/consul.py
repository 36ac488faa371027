"""What Consul knows, as the operator understands it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

    ``tags`` must all be present on an instance, ``filter`` is an expression of Consul's. ``near``
    is the node from whose place on instances are wanted, the nearest first; empty: in any order.
    ``datacenter``, ``namespace`` and ``partition`` empty: the agent's and the token's own.
    """

    service: str
    tags: tuple[str, ...] = ()
    datacenter: str = ""
    filter: str = ""
    namespace: str = ""
    partition: str = ""
    near: str = ""
    source: ConsulSource = ConsulSource()

    def __str__(self) -> str:
        words = [f"{self.service}@{self.datacenter}" if self.datacenter else self.service]
        words += [f"tags {','.join(self.tags)}"] if self.tags else []
        words += [f"filter {self.filter}"] if self.filter else []
        words += [f"namespace {self.namespace}"] if self.namespace else []
        words += [f"partition {self.partition}"] if self.partition else []
        words += [f"near {self.near}"] if self.near else []
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
class PodMark:
    """Pod that an instance's Meta names, in the words of registrations; empty when it names none.

    Whoever registers a service can write anything there.
    """

    cluster: str = ""
    namespace: str = ""
    uid: str = ""


NO_POD = PodMark()

Identity = tuple[str, str, str, int, str]


@dataclass(frozen=True, kw_only=True, order=True)
class Instance:
    """One registration of a service as Consul returned it; nothing in it is to be trusted."""

    id: str
    node: str
    address: str
    port: int
    health: Health
    weight: int = 1
    pod: PodMark = NO_POD

    @property
    def identity(self) -> Identity:
        """Equal as long as it is the same process that is meant, as far as Consul tells."""
        return self.node, self.id, self.address, self.port, self.pod.uid


@dataclass(frozen=True, kw_only=True)
class Spell:
    """A time without a break for which an instance was healthy, in seconds since the epoch.

    ``began`` None: it was when it was seen first, for all we know for long. ``ended`` None: it
    lasts. ``returned``: it was healthy before, and then was not.
    """

    began: float | None = None
    ended: float | None = None
    returned: bool = False


@dataclass(frozen=True, kw_only=True)
class Spells:
    """The latest spell of passing, and that of passing or warning; None: never."""

    passing: Spell | None = None
    bearable: Spell | None = None


History = Mapping[Identity, Spells]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """An answer that lacks most of what was there, and that Consul could not confirm.

    ``since`` is the time, in seconds since the epoch, of the first of such answers in a row;
    ``history`` is what it would be if the latest were true.
    """

    since: float
    instances: tuple[Instance, ...]
    history: History


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is known about one query.

    ``instances`` is None as long as the query has never been answered: *unknown* is not *empty*.
    ``history`` tells of those that have not been healthy all the time (``model/history.py``).
    ``error`` says why the latest attempt failed, with ``failing_since`` in seconds since the epoch;
    None when ``instances`` is current. ``doubt``: that attempt was answered all the same.
    ``refused``: Consul answers, and will answer so until somebody changes the token or the query.
    ``nearest_first``: instances stand by their distance, which Consul knows for a query with
    ``near`` only, and not of every node.
    """

    instances: tuple[Instance, ...] | None = None
    history: History = field(default_factory=dict)
    error: str | None = None
    failing_since: float | None = None
    doubt: Doubt | None = None
    refused: bool = False
    nearest_first: bool = False


UNKNOWN = Observation()

Snapshot = Mapping[ServiceQuery, Observation]
