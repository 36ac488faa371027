"""Registrations in Consul's catalog, on a synthetic node for every Kubernetes node.

Every write names the version that it was made from: a transaction is made as a whole or, when
somebody else wrote meanwhile, not at all. What one registration is refused for costs no other: the
rest is sent again without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from consul_nginx.consul import registered
from consul_nginx.consul.api import Api, decoded, encoded
from consul_nginx.consul.errors import (
    ConsulConflict,
    ConsulError,
    ConsulRefused,
    ConsulUnavailable,
)
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.consul.outcome import Outcome
from consul_nginx.consul.transport import path_segment
from consul_nginx.model.registration import META_CLUSTER, Change, Changes, Held, Place

META_NODE = "consul_nginx_node"
# Consul takes 128 operations, older ones 64, and 512 KiB.
MAX_OPERATIONS = 64
MAX_BYTES = 400_000
# Of a node whose address isn't known (yet). Every registration has an address of its own.
_NO_ADDRESS = "127.0.0.1"
# consul-esm runs the checks of nodes with this. Those with external-probe it would ping too, and
# turn all that is on them critical where the network drops pings.
_EXTERNAL = {"external-node": "true"}
_STALE = ("index is stale", "Missing node registration", "Missing service registration")
_TOO_MUCH = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def node_name(*, cluster: str, node: str) -> str:
    """The synthetic node; no agent has a name with ``_``, and no two clusters one in common."""
    return f"{cluster}_{node}"


@dataclass(frozen=True, kw_only=True)
class _Node:
    """``hidden``: there are services that our token may not read, nor write."""

    address: str
    meta: Mapping[str, str]
    version: int
    services: Sequence[Any]
    hidden: bool


@dataclass(frozen=True, kw_only=True)
class _Write:
    """One registration's operations, made together or not at all; no ``id``: the node's."""

    kind: str
    id: str
    operations: tuple[Mapping[str, Any], ...]

    @property
    def size(self) -> int:
        return len(encoded(self.operations))


class CatalogRegistrations:
    """Reads and writes the synthetic nodes of one cluster, and never touches anybody else's.

    ``esm``: consul-esm runs what CHECK_* asks for.
    """

    def __init__(self, *, cluster: str, api: Api, esm: bool = False) -> None:
        self._cluster = cluster
        self._api = api
        self._esm = esm

    async def places(self) -> frozenset[str]:
        """Names of Kubernetes nodes for which there is a synthetic one. Raises ``ConsulError``."""
        wanted = registered.equals(f"Meta.{META_CLUSTER}", self._cluster)
        nodes = (await self._api.all("catalog/nodes", params=[("filter", wanted)])).found
        if type(nodes) is not list:
            raise malformed("no list of nodes")
        try:
            found = {
                field_of(node, "Node", str): field_of(node, "Meta", dict, {}) for node in nodes
            }
        except MalformedError as error:
            raise malformed(error) from error
        # A name that isn't made from the mark is not of a node that we made.
        return frozenset(
            str(meta[META_NODE])
            for name, meta in found.items()
            if meta.get(META_CLUSTER) == self._cluster
            and name == node_name(cluster=self._cluster, node=str(meta.get(META_NODE)))
        )

    async def read(self, place: Place) -> Mapping[str, Held]:
        """Everything on the synthetic node, by ID; nothing when there is none.

        Raises ``ConsulError``.
        """
        node = await self._node(place)
        if node is None:
            return {}
        checks = (await self._api.all(f"health/node/{self._segment(place)}")).found
        if type(checks) is not list:
            raise malformed("no list of checks")
        return registered.held(services=node.services, checks=checks, cluster=self._cluster)

    async def apply(self, place: Place, changes: Changes) -> Mapping[str, str]:
        """Write ``changes``; what Consul refuses is returned by ID, with its reason.

        Raises ``ConsulConflict`` when something isn't any longer as it was read; everything else
        was written then. Raises ``ConsulUnavailable`` or ``ConsulRefused`` when nothing more could
        be written.
        """
        outcome = Outcome()
        node = await self._node(place)
        if node is not None and not self._is_ours(node, place):
            return self._refuse_all(place, changes, outcome)
        writes = [*self._writes(place, changes)]
        if any(write.kind == "register" for write in writes):
            writes = [*self._node_writes(place, node), *writes]
        for batch in _batches(writes):
            await self._send(batch, outcome)
        return outcome.told()

    async def tidy(self, place: Place) -> bool:
        """Remove the synthetic node if it is ours and nothing is on it; says whether it did.

        A node's version doesn't tell of services: not while others write for the same ``place``.
        Raises ``ConsulError``.
        """
        node = await self._node(place)
        if node is None or node.services or node.hidden or not self._is_ours(node, place):
            return False
        removed = {"Node": self._name(place), "ModifyIndex": node.version}
        write = _Write(
            kind="node",
            id="",
            operations=({"Node": {"Verb": "delete-cas", "Node": removed}},),
        )
        await self._send([write], Outcome())
        return True

    async def _node(self, place: Place) -> _Node | None:
        read = await self._api.all(f"catalog/node-services/{self._segment(place)}")
        try:
            found = field_of(read.found, "Node", dict, {})
            if not found and read.filtered:
                raise ConsulRefused(
                    f"the ACL token may not read Consul's node {self._name(place)}: it needs "
                    f'node:write for node_prefix "{node_name(cluster=self._cluster, node="")}"'
                )
            if not found:
                return None
            return _Node(
                address=field_of(found, "Address", str, ""),
                meta=field_of(found, "Meta", dict, {}),
                version=field_of(found, "ModifyIndex", int),
                services=field_of(read.found, "Services", list, []),
                hidden=read.filtered,
            )
        except MalformedError as error:
            raise malformed(error) from error

    def _name(self, place: Place) -> str:
        return node_name(cluster=self._cluster, node=place.node)

    def _segment(self, place: Place) -> str:
        return path_segment(self._name(place))

    def _is_ours(self, node: _Node, place: Place) -> bool:
        found = (node.meta.get(META_CLUSTER), node.meta.get(META_NODE))
        return found == (self._cluster, place.node)

    def _refuse_all(self, place: Place, changes: Changes, outcome: Outcome) -> Mapping[str, str]:
        reason = (
            f"Consul's node {self._name(place)} has no Meta {META_CLUSTER}={self._cluster} and "
            f"{META_NODE}={place.node}, so somebody else made it; remove it, or give this cluster "
            "another name"
        )
        for kind, service_id in _all(changes):
            outcome.refuse(kind, service_id, reason=reason)
        return outcome.told()

    def _node_writes(self, place: Place, node: _Node | None) -> Iterator[_Write]:
        meta = {META_CLUSTER: self._cluster, META_NODE: place.node}
        meta |= _EXTERNAL if self._esm else {}
        address = place.ip or (node.address if node else "") or _NO_ADDRESS
        if node and (node.address, node.meta) == (address, meta):
            return
        wanted = {
            "Node": self._name(place),
            "Address": address,
            "Meta": meta,
            "ModifyIndex": node.version if node else 0,
        }
        yield _Write(kind="node", id="", operations=({"Node": {"Verb": "cas", "Node": wanted}},))

    def _writes(self, place: Place, changes: Changes) -> Iterator[_Write]:
        for change in changes.register:
            yield _Write(
                kind="register",
                id=change.after.content.id,
                operations=(*self._register(place, change),),
            )
        for change in changes.readiness:
            version = change.before.ready_version if change.before else 0
            check = self._readiness(place, change)
            yield _Write(
                kind="readiness",
                id=change.after.content.id,
                operations=(_on_check("cas", {**check, "ModifyIndex": version}),),
            )
        for held in changes.remove:
            content = held.content
            removed = {"ID": content.id, "Service": content.name, "ModifyIndex": held.version}
            yield _Write(
                kind="deregister",
                id=content.id,
                operations=(self._on_service(place, "delete-cas", removed),),
            )

    def _register(self, place: Place, change: Change) -> Iterator[Mapping[str, Any]]:
        before, after = change.before, change.after
        service = registered.service(after, name_key="Service")
        version = before.version if before else 0
        yield self._on_service(place, "cas", {**service, "ModifyIndex": version})
        yield _on_check("set", self._readiness(place, change))
        asked = registered.asked_for(after)
        known = before.content.checks if before else frozenset()
        renamed = before is not None and before.content.name != after.content.name
        # One that is there keeps the status that consul-esm found.
        if asked and (renamed or asked.fingerprint not in known):
            check = registered.asked(after, asked)
            yield _on_check(
                "set", {**self._owned(place, change), **check, "Definition": dict(asked.definition)}
            )
        for fingerprint in sorted(known - after.content.checks):
            check_id = registered.asked_id(after.content.id, fingerprint=fingerprint)
            yield _on_check("delete", {**self._owned(place, change), "CheckID": check_id})

    def _readiness(self, place: Place, change: Change) -> dict[str, Any]:
        return {
            **self._owned(place, change),
            **registered.readiness(change.after),
            **registered.status(ready=change.after.ready),
        }

    def _owned(self, place: Place, change: Change) -> dict[str, Any]:
        """What a check of a service has: Consul's ACLs go by the name."""
        content = change.after.content
        return {
            "Node": self._name(place),
            "ServiceID": content.id,
            "ServiceName": content.name,
        }

    def _on_service(self, place: Place, verb: str, service: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Service": {"Verb": verb, "Node": self._name(place), "Service": service}}

    async def _send(self, writes: Sequence[_Write], outcome: Outcome) -> None:
        """Make ``writes`` in one transaction, or without those that Consul objects to."""
        try:
            objections = await self._transact(writes)
        except ConsulRefused as error:
            if error.status not in _TOO_MUCH or (len(writes) == 1 and not writes[0].id):
                _count(writes, error, outcome)
                raise
            if len(writes) == 1:
                outcome.refuse(writes[0].kind, writes[0].id, reason=str(error))
                return
            # Of all of it Consul doesn't say what is wrong: each half finds its own.
            middle = len(writes) // 2
            await self._send(writes[:middle], outcome)
            await self._send(writes[middle:], outcome)
            return
        except ConsulUnavailable as error:
            _count(writes, error, outcome)
            raise
        rest = []
        for position, write in enumerate(writes):
            reason = objections.get(position)
            if reason is None:
                rest.append(write)
            elif not write.id:
                refused = _node_error(reason)
                _count(writes, refused, outcome)
                raise refused
            elif reason.endswith(_STALE):
                outcome.conflict(write.kind, write.id, reason=reason)
            else:
                outcome.refuse(write.kind, write.id, reason=reason)
        if objections and rest:
            await self._send(rest, outcome)
            return
        for write in rest:
            outcome.wrote(write.kind)

    async def _transact(self, writes: Sequence[_Write]) -> Mapping[int, str]:
        """What Consul objects to, by position in ``writes``; nothing: all is written."""
        owners = [position for position, write in enumerate(writes) for _ in write.operations]
        operations = [operation for write in writes for operation in write.operations]
        answer = await self._api.put("txn", body=operations)
        said = decoded(answer)
        if answer.code == HTTPStatus.OK:
            return {}
        objections: dict[int, str] = {}
        try:
            for error in field_of(said, "Errors", list):
                operation = field_of(error, "OpIndex", int)
                if not 0 <= operation < len(owners):
                    raise malformed(f"an error of operation {operation} of {len(owners)}")
                objections.setdefault(owners[operation], field_of(error, "What", str))
        except MalformedError as error:
            raise malformed(error) from error
        if not objections:
            raise malformed("a transaction that was not made, and no reason")
        return objections


def _batches(writes: Iterable[_Write]) -> Iterator[Sequence[_Write]]:
    """In order, each within Consul's limits as far as single writes are."""
    batch: list[_Write] = []
    operations = size = 0
    for write in writes:
        operations += len(write.operations)
        size += write.size
        if batch and (operations > MAX_OPERATIONS or size > MAX_BYTES):
            yield batch
            batch, operations, size = [], len(write.operations), write.size
        batch.append(write)
    if batch:
        yield batch


def _count(writes: Iterable[_Write], error: ConsulError, outcome: Outcome) -> None:
    for write in writes:
        outcome.failed(write.kind, error)


def _on_check(verb: str, check: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"Check": {"Verb": verb, "Check": check}}


def _all(changes: Changes) -> Iterator[tuple[str, str]]:
    yield from (("register", change.after.content.id) for change in changes.register)
    yield from (("readiness", change.after.content.id) for change in changes.readiness)
    yield from (("deregister", held.content.id) for held in changes.remove)


def _node_error(reason: str) -> ConsulConflict | ConsulRefused:
    words = registered.words(reason)
    return ConsulConflict(words) if reason.endswith(_STALE) else ConsulRefused(words)
