"""Keeps in Consul what Pods' annotations ask for: gather, plan, apply, report, node by node."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from consul_nginx.consul.errors import ConsulConflict, ConsulError
from consul_nginx.loops.brake import CONFIRM_S
from consul_nginx.loops.evidence import Evidence
from consul_nginx.loops.lead import Lead
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.wishes import Wishes
from consul_nginx.metrics import REGISTRATION_DRIFT
from consul_nginx.model.registration import (
    Changes,
    Held,
    Mode,
    Owner,
    Place,
    RegistrationSettings,
)
from consul_nginx.registrar.difference import difference
from consul_nginx.registrar.outcome import Outcome, Settled, Told, WishesOfNode

_log = logging.getLogger(__name__)

# One list is asked for at once, the other then: far enough apart even when the first was slow.
LIST_AGAIN_S = CONFIRM_S + 1
# Both have come by then.
LOOK_AGAIN_S = LIST_AGAIN_S + 2
# An agent that restarts is back by then; one that is not has gone with its node.
DESERTED_S = 120.0


class Registry(Protocol):
    """Where registrations are: on the nodes' agents, or in Consul's catalog."""

    async def read(self, place: Place) -> Mapping[str, Held]:
        """What Consul holds there, by ID; raises ``ConsulError``."""

    async def apply(self, place: Place, changes: Changes) -> Mapping[str, str]:
        """Write; returns what Consul refused, by ID, and why. Raises ``ConsulError``."""

    async def tidy(self, place: Place) -> bool:
        """Remove what was made for a node that has nothing; whether it did. Raises likewise."""


class Registrar:
    """``tell`` is called for each Pod that something is to be said about."""

    def __init__(
        self,
        *,
        settings: RegistrationSettings,
        pods: Pods,
        wishes: Wishes,
        registry: Registry,
        lead: Lead,
        tell: Callable[[Told], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._pods = pods
        self._wishes = wishes
        self._registry = registry
        self._lead = lead
        self._tell = tell
        self._clock = clock
        self._evidence = Evidence(pods=pods, cluster=settings.cluster, clock=clock)
        self._settled: dict[str, Settled] = {}
        self._failing: dict[str, float] = {}
        self._due: set[str] = set()

    async def reconcile(self, node: str) -> float | None:
        """Bring what Consul holds for one node to what its Pods ask for.

        Returns in how many seconds to come again, because of Pods that are missing until two
        lists more confirm it; None when everything is done.
        """
        self._lead.require()
        asked = self._wishes.of(node)
        if node not in self._due and self._is_settled(node, asked):
            return None
        self._due.discard(node)
        place = self._pods.place(node)
        try:
            held = await self._registry.read(place)
            asked = self._wishes.of(node)
            missed = self._evidence.look(node, held)
            changes = difference(
                wanted=asked.registrations,
                held=held,
                cluster=self._settings.cluster,
                may_remove=self._may_remove,
            )
            self._lead.require()
            refused = await self._registry.apply(place, changes) if changes else {}
            if not self._pods.on(node) and len(held) == len(changes.remove):
                await self._registry.tidy(place)
        except ConsulConflict:
            self._due.add(node)
            raise
        except ConsulError as error:
            if self._is_deserted(node):
                self._abandon(node)
                return None
            self._due.add(node)
            self._failed(node, error)
            raise
        self._report(node, Outcome(asked=asked, changes=changes, refused=refused, missed=missed))
        if not missed:
            return None
        self._due.add(node)
        return LOOK_AGAIN_S

    def due(self, node: str) -> None:
        """Have a node compared even when its Pods ask for nothing new."""
        self._due.add(node)

    @property
    def settled(self) -> Mapping[str, Settled]:
        """What the latest comparison of each node found."""
        return self._settled

    def states(self) -> Counter[str]:
        """Number of registrations by state."""
        nodes = tuple(self._settled.values())
        return Counter(
            registered=sum(len(node.written) for node in nodes),
            refused=sum(node.refused for node in nodes),
            missed=sum(node.missed for node in nodes),
            pending=sum(node.pending for node in nodes),
        )

    def count(self, state: str) -> int:
        """Number of registrations in one state."""
        return self.states()[state]

    def forget_all(self) -> None:
        """Another replica led meanwhile: what was settled here is old."""
        self._settled.clear()
        self._due.clear()

    def _is_settled(self, node: str, asked: WishesOfNode) -> bool:
        """Most events of Pods are none of ours, and must cost Consul nothing."""
        before = self._settled.get(node)
        return before is not None and asked.asks_as(before.asked)

    def _may_remove(self, owner: Owner) -> bool:
        return self._wishes.known and self._evidence.suffices(owner)

    def _is_deserted(self, node: str) -> bool:
        """Whether an agent that does not answer may be left alone: nothing is asked of it.

        What it may still hold is found when it answers again: Pods come back with it, and the full
        comparison looks as long as there are any.
        """
        if self._settings.mode is not Mode.AGENT or self._wishes.of(node).registrations:
            return False
        since = self._failing.get(self._where(node), self._clock())
        is_lost = self._clock() - since >= DESERTED_S
        return is_lost or not self._settled.get(node, Settled()).written

    def _abandon(self, node: str) -> None:
        # Not settled: whatever comes to the node next may have brought the agent back.
        self._settled.pop(node, None)
        self._evidence.forget(node)
        if not self._pods.on(node):
            self._failing.pop(self._where(node), None)
            self._forget(node)

    def _report(self, node: str, outcome: Outcome) -> None:
        self._recovered(node)
        before = self._settled.get(node)
        if before is not None and (drifted := outcome.drift(before)):
            _log.warning("%d registrations of node %s were changed by others", len(drifted), node)
            REGISTRATION_DRIFT.labels(state="found").inc(len(drifted))
            REGISTRATION_DRIFT.labels(state="repaired").inc(len(drifted - outcome.refused.keys()))
        self._settled[node] = outcome.settled()
        for told in outcome.told():
            self._tell(told)
        if not outcome.missed and not self._pods.on(node):
            self._forget(node)

    def _forget(self, node: str) -> None:
        """The node has no Pods, and nothing of ours."""
        self._settled.pop(node, None)
        self._wishes.forget(node)
        self._evidence.forget(node)
        self._pods.forget_if_empty(node)

    def _failed(self, node: str, error: ConsulError) -> None:
        where = self._where(node)
        if where not in self._failing:
            self._failing[where] = self._clock()
            _log.warning("registrations wait: %s does not take them: %s", where, error)
        before = self._settled.get(node, Settled())
        asked = self._wishes.of(node).registrations
        new = [item for item in asked if before.written.get(item.content.id) != item]
        self._settled[node] = dataclasses.replace(before, pending=len(new))

    def _recovered(self, node: str) -> None:
        where = self._where(node)
        if where in self._failing:
            del self._failing[where]
            _log.info("%s takes registrations again", where)

    def _where(self, node: str) -> str:
        return f"Consul's agent of node {node}" if self._settings.mode is Mode.AGENT else "Consul"
