"""Refreshes the TTL checks that CHECK_TTL asks for, with the Pods' readiness."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from consul_nginx.consul.errors import ConsulError
from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops.pods import Pods
from consul_nginx.model.registration import Place, Registration
from consul_nginx.registrar.outcome import Settled

_log = logging.getLogger(__name__)

# A third of the shortest TTL that is sent.
PERIOD_S = 200.0
# One after the other, agents of nodes that are gone would take the time that the others have.
AT_ONCE = 64


class Agents(Protocol):
    """The part of the agents' registry that refreshes."""

    async def refresh(self, place: Place, ready: Mapping[str, bool]) -> Mapping[str, str]:
        """Refresh TTL checks with readiness by ID; raises ``ConsulError``."""


async def keep_fresh(
    *,
    agents: Agents,
    pods: Pods,
    settled: Callable[[], Mapping[str, Settled]],
    leading: Callable[[], bool],
) -> None:
    """Never returns. An agent that does not answer is asked again at the next turn."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def freshen(node: str, due: Mapping[str, bool]) -> None:
        async with slots:
            if not leading():
                return
            try:
                await agents.refresh(pods.place(node), due)
            except NotLeading as error:
                _log.debug("TTL checks of node %s are the new leader's: %s", node, error)
            except ConsulError as error:
                _log.warning("TTL checks of node %s are not refreshed: %s", node, error)

    while True:
        await asyncio.sleep(PERIOD_S)
        async with asyncio.TaskGroup() as turn:
            for node, state in settled().items():
                if due := _due(state):
                    turn.create_task(freshen(node, due))


def _due(state: Settled) -> Mapping[str, bool]:
    """Readiness by ID of what has a TTL check."""
    return {
        identity: registration.ready
        for identity, registration in state.written.items()
        if _has_ttl(registration)
    }


def _has_ttl(registration: Registration) -> bool:
    check = registration.check
    return (
        check is not None
        and check.ttl is not None
        and check.fingerprint in registration.content.checks
    )
