"""Refreshes the TTL checks that CHECK_TTL asks for, with the Pods' readiness."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from consul_nginx.consul.errors import ConsulError
from consul_nginx.loops.pods import Pods
from consul_nginx.model.registration import Place, Registration
from consul_nginx.registrar.outcome import Settled

_log = logging.getLogger(__name__)

# A third of the shortest TTL that is sent.
PERIOD_S = 200.0


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
    while True:
        await asyncio.sleep(PERIOD_S)
        for node, state in tuple(settled().items()):
            due = {
                identity: registration.ready
                for identity, registration in state.written.items()
                if _has_ttl(registration)
            }
            if not due or not leading():
                continue
            try:
                await agents.refresh(pods.place(node), due)
            except ConsulError as error:
                _log.warning("TTL checks of node %s are not refreshed: %s", node, error)


def _has_ttl(registration: Registration) -> bool:
    check = registration.check
    return (
        check is not None
        and check.ttl is not None
        and check.fingerprint in registration.content.checks
    )
