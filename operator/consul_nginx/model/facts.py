"""What users' own templates ask Consul, and what it answers; nothing of that is to be trusted.

Equal questions share one watch. ``datacenter`` empty: the agent's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from consul_nginx.model.consul import ConsulSource, Health

OPERATORS = ConsulSource()


@dataclass(frozen=True, kw_only=True)
class InstancesQuery:
    """Instances of a service with all of ``tags``, and all that is known of them.

    Not a ``ServiceQuery``: mappings need neither tags nor Meta, and are not to be woken by them.
    """

    service: str
    tags: tuple[str, ...] = ()
    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        tags = f" tags {','.join(self.tags)}" if self.tags else ""
        return f"service {self.service}{tags}{_where(self)}"


@dataclass(frozen=True, kw_only=True)
class KeyQuery:
    """One key of the KV store; the answer has one pair, or none."""

    key: str
    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        return f"key {self.key}{_where(self)}"


@dataclass(frozen=True, kw_only=True)
class TreeQuery:
    """All keys of a folder and of those below; ``prefix`` ends with a slash, or is empty."""

    prefix: str
    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        return f"keys below {self.prefix or '/'}{_where(self)}"


@dataclass(frozen=True, kw_only=True)
class ServicesQuery:
    """The names of all services."""

    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        return f"all services{_where(self)}"


@dataclass(frozen=True, kw_only=True)
class NodesQuery:
    """All nodes."""

    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        return f"all nodes{_where(self)}"


@dataclass(frozen=True, kw_only=True)
class DatacentersQuery:
    """The names of all datacenters; Consul has no blocking query for them."""

    datacenter: str = ""
    source: ConsulSource = OPERATORS

    def __str__(self) -> str:
        return f"all datacenters{_where(self)}"


Question: TypeAlias = (
    InstancesQuery | KeyQuery | TreeQuery | ServicesQuery | NodesQuery | DatacentersQuery
)


@dataclass(frozen=True, kw_only=True, order=True)
class Pair:
    """A key with its value, which is text."""

    key: str
    value: str


@dataclass(frozen=True, kw_only=True, order=True)
class NamedService:
    """A service with the tags of all its instances."""

    name: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class Node:
    """A node of Consul's catalog."""

    name: str
    address: str
    meta: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """An instance of a service; ``address`` is its node's where it has none of its own."""

    node: Node
    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: tuple[tuple[str, str], ...]
    health: Health
    weight: int


Value: TypeAlias = (
    tuple[Entry, ...]
    | tuple[Pair, ...]
    | tuple[NamedService, ...]
    | tuple[Node, ...]
    | tuple[str, ...]
)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What is known about one question.

    ``value`` is None as long as it has never been answered. ``error`` says why the latest attempt
    failed; None when ``value`` is current.
    """

    value: Value | None = None
    error: str | None = None


UNKNOWN_FACT = Fact()

Facts: TypeAlias = Mapping[Question, Fact]


def order(query: Question) -> tuple[str, str]:
    """To sort questions of several kinds by."""
    return type(query).__name__, str(query)


def _where(query: Question) -> str:
    where = f" at {query.source.address}" if query.source.address else ""
    return f"{f'@{query.datacenter}' if query.datacenter else ''}{where}"
