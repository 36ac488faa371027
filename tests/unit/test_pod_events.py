"""What authors of Pods hear of, whatever becomes of the lead and of the API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from consul_nginx.kube.errors import KubeConflict, KubeError, NotLeading
from consul_nginx.loops.events import Events
from consul_nginx.loops.pod_events import PodEvents
from consul_nginx.model.registration import PodWarning
from consul_nginx.registrar.outcome import Told, Wish
from unit.test_pods import parse, raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Kube:
    """The one call of the client that Events make."""

    def __init__(self, *errors: KubeError) -> None:
        self.errors = list(errors)
        self.posted: asyncio.Queue[str] = asyncio.Queue()

    async def apply(self, _kind: Any, body: dict[str, Any]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.posted.put_nowait(body["message"])


def told(*messages: str, pod: str = "web") -> Told:
    warnings = tuple(PodWarning(reason="Refused", message=message) for message in messages)
    wish = Wish(pod=parse(raw(pod)), registrations=(), warnings=warnings)
    return Told(wish=wish, warnings=warnings, registered=())


@asynccontextmanager
async def telling(kube: Any) -> AsyncIterator[PodEvents]:
    events = PodEvents(events=Events(kube=kube))
    task = asyncio.create_task(events.run())
    yield events
    assert not task.done()
    task.cancel()


async def test_what_is_the_same_is_said_once() -> None:
    kube = Kube()
    async with telling(kube) as events, asyncio.timeout(5):
        events.tell(told("one"))
        events.tell(told("one", "two"))
        assert [await kube.posted.get(), await kube.posted.get()] == ["one", "two"]
        assert kube.posted.empty()


@pytest.mark.parametrize("error", [NotLeading("another leads"), KubeConflict("exists")])
async def test_an_event_that_can_not_be_posted_ends_nothing(error: KubeError) -> None:
    kube = Kube(error)
    async with telling(kube) as events, asyncio.timeout(5):
        events.tell(told("one"))
        events.tell(told("two", pod="api"))
        assert await kube.posted.get() == "two"
