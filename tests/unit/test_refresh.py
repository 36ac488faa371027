"""TTL checks are refreshed, whatever becomes of the lead and of single agents."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops import refresh
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.refresh import keep_fresh
from consul_nginx.model.registration import Check
from consul_nginx.registrar.outcome import Settled
from unit.test_difference import registration
from unit.test_pods import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consul_nginx.model.registration import Place

TTL = Check(definition={"TTL": "600s"})
WEB = dataclasses.replace(registration(checks=frozenset({TTL.fingerprint})), check=TTL)


class Agents:
    """Agents of nodes; the first ``away`` ones never answer."""

    def __init__(self, *, away: int = 0, losing: int = 0) -> None:
        self.away, self.losing = away, losing
        self.refreshed: asyncio.Queue[str] = asyncio.Queue()

    async def refresh(self, place: Place, ready: Mapping[str, bool]) -> Mapping[str, str]:
        assert ready == {"web": True}
        if self.losing:
            self.losing -= 1
            raise NotLeading("another leads")
        if int(place.node) < self.away:
            await asyncio.Event().wait()
        self.refreshed.put_nowait(place.node)
        return {}


async def refreshed(agents: Agents, *, nodes: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(refresh, "PERIOD_S", 0.01)
    settled = {str(number): Settled(written={"web": WEB}) for number in range(nodes)}
    task = asyncio.create_task(
        keep_fresh(
            agents=agents,
            pods=Pods(parse=parse, changed=lambda _: None),
            settled=lambda: settled,
            leading=lambda: True,
        )
    )
    try:
        async with asyncio.timeout(5):
            return await agents.refreshed.get()
    finally:
        task.cancel()


async def test_a_lead_that_ends_between_two_agents_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await refreshed(Agents(losing=1), nodes=1, monkeypatch=monkeypatch) == "0"


async def test_agents_that_do_not_answer_hold_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents(away=40)
    assert await refreshed(agents, nodes=41, monkeypatch=monkeypatch) == "40"
