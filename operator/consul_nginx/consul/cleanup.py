"""Finds and removes everything that one cluster has registered, wherever that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.errors import ConsulConflict, ConsulError
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.consul.members import members
from consul_nginx.consul.presence import readiness_checks
from consul_nginx.consul.synthetic import CatalogRegistrations, node_name
from consul_nginx.model.registration import Changes, Held, Mode, Place

# Somebody who writes all the time is told of, and not waited for.
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A registration, or with an empty ``id`` a whole node; ``problem``: why it is still there."""

    mode: Mode
    node: str
    service: str = ""
    id: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """Of ``cluster``; ``dry_run`` only looks."""

    cluster: str
    api: Api
    catalog: CatalogRegistrations
    agents: AgentRegistrations
    dry_run: bool = False

    async def run(self) -> AsyncIterator[Leftover]:
        """What there is, each told once it is removed, or with the reason why it isn't.

        Raises ``ConsulError`` when Consul can't even be asked what there is.
        """
        nodes = await self.catalog.places()
        for name in sorted(nodes):
            place = Place(node=name)
            stays = False
            async for leftover in self._of(place, Mode.CATALOG, self.catalog):
                stays = stays or bool(leftover.problem)
                yield leftover
            if not stays and (problem := await self._tidied(place)):
                yield Leftover(mode=Mode.CATALOG, node=name, problem=problem)
        synthetic = {node_name(cluster=self.cluster, node=name) for name in nodes}
        for place in await self._agents_with_checks():
            if place.node not in synthetic:
                async for leftover in self._of(place, Mode.AGENT, self.agents):
                    yield leftover

    async def _of(
        self, place: Place, mode: Mode, registrations: AgentRegistrations | CatalogRegistrations
    ) -> AsyncIterator[Leftover]:
        found: dict[str, Held] = {}
        reasons: Mapping[str, str] = {}
        problem = ""
        for _ in range(_ATTEMPTS):
            try:
                held = await registrations.read(place)
                ours = {service_id: one for service_id, one in held.items() if one.owner}
                found |= ours
                if ours and not self.dry_run:
                    reasons = await registrations.apply(place, Changes(remove=(*ours.values(),)))
            except ConsulConflict as error:
                problem = str(error)
                continue
            except ConsulError as error:
                problem = str(error)
            else:
                problem = ""
            break
        if problem and not found:
            yield Leftover(mode=mode, node=place.node, problem=problem)
        for service_id, one in sorted(found.items()):
            yield Leftover(
                mode=mode,
                node=place.node,
                service=one.content.name,
                id=service_id,
                problem=reasons.get(service_id, problem),
            )

    async def _tidied(self, place: Place) -> str:
        """Remove the synthetic node if nothing is on it; the reason when that can't be done."""
        if self.dry_run:
            return ""
        try:
            if await self.catalog.tidy(place) or place.node not in await self.catalog.places():
                return ""
        except ConsulError as error:
            return str(error)
        return "the synthetic node stays: something that isn't this cluster's is on it"

    async def _agents_with_checks(self) -> list[Place]:
        """Agents with checks of ours; one that doesn't live has no address."""
        _, checks = await readiness_checks(api=self.api, cluster=self.cluster)
        try:
            names = {field_of(check, "Node", str) for check in checks}
        except MalformedError as error:
            raise malformed(error) from error
        living = {place.node: place for place in await members(self.api)}
        return [living.get(name, Place(node=name)) for name in sorted(names)]
