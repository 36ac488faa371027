"""What another mode left in Consul goes, once what replaces it is there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.loops import retired
from consul_nginx.loops.brake import CONFIRM_S
from consul_nginx.loops.retired import Retired
from consul_nginx.model.registration import Place
from unit.test_registrar import NODE, World, pod_raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(retired, "SETTLE_S", 0.01)
    return World()


class Retiring:
    """The task, and what it is told."""

    def __init__(self, world: World) -> None:
        self.asked = asyncio.Event()
        self.compared = True
        self.nodes = [NODE]
        self.confirming = asyncio.Event()
        self.spared: set[str] = set()
        self.now = 0.0
        self.retired = Retired(
            registry=world.registry,
            cluster="prod",
            pods=world.pods,
            places=self.places,
            is_compared=lambda: self.compared,
            confirm=self.confirming.set,
            spares=lambda uid: uid in self.spared,
            clock=lambda: self.now,
        )

    async def places(self) -> list[Place]:
        self.asked.set()
        return [Place(node=node) for node in self.nodes]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.retired.run())
        yield
        task.cancel()

    async def done(self) -> None:
        """One whole turn: it asks anew only after the one before."""
        for _ in range(2):
            self.asked.clear()
            self.retired.ask()
            async with asyncio.timeout(5):
                await self.asked.wait()


async def test_only_what_is_ours_goes(world: World) -> None:
    world.pods.listed(uids=set(), version=1, namespace=None)
    world.hold("web-1")
    others = {world.hold("web-2", cluster="other"), world.hold("db", marked=False)}
    retiring = Retiring(world)
    async with retiring.running():
        await retiring.done()
    assert set(world.registry.held[NODE]) == others


async def test_nothing_goes_before_everything_was_compared(world: World) -> None:
    world.pods.listed(uids=set(), version=1, namespace=None)
    identity = world.hold("web-1")
    retiring = Retiring(world)
    retiring.compared = False
    async with retiring.running():
        retiring.retired.ask()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await retiring.asked.wait()
        assert identity in world.registry.held[NODE]
        retiring.compared = True
        await retiring.done()
    assert world.registry.held[NODE] == {}


async def test_nothing_goes_of_a_namespace_that_is_not_watched(world: World) -> None:
    world.pods.listed(uids=set(), version=1, namespace="blog")
    identity = world.hold("web-1")
    retiring = Retiring(world)
    async with retiring.running():
        await retiring.done()
    assert identity in world.registry.held[NODE]


async def test_an_agent_that_does_not_answer_keeps_no_other_from_being_asked(world: World) -> None:
    world.pods.listed(uids=set(), version=1, namespace=None)
    world.hold("web-1")
    read = world.registry.read

    async def only_known(place: Place) -> object:
        if place.node == "dead":
            raise ConsulUnavailable("no route")
        return await read(place)

    world.registry.read = only_known
    retiring = Retiring(world)
    retiring.nodes = ["dead", NODE]
    async with retiring.running():
        await retiring.done()
    assert world.registry.held[NODE] == {}


async def test_many_of_pods_that_merely_vanished_stay_until_it_is_confirmed(world: World) -> None:
    many = {world.hold(f"old-{number}") for number in range(20)}
    world.hold("web-1")
    world.listed(pod_raw())
    retiring = Retiring(world)
    async with retiring.running():
        await retiring.done()
        assert set(world.registry.held[NODE]) == many
        assert retiring.confirming.is_set()
        for _ in range(2):
            retiring.now += CONFIRM_S
            world.listed(pod_raw())
        await retiring.done()
    assert world.registry.held[NODE] == {}


async def test_of_an_agent_that_came_back_only_what_lives_stays(world: World) -> None:
    world.listed(pod_raw("web-1"), pod_raw("web-2"))
    lives, ended = world.hold("web-1"), world.hold("web-2")
    world.pods.remove(pod_raw("web-2"))
    unseen = world.hold("web-3")
    retiring = Retiring(world)
    retiring.spared = {"uid-web-1"}
    async with retiring.running():
        await retiring.done()
    assert set(world.registry.held[NODE]) == {lives}
    assert not {ended, unseen} & world.registry.held[NODE].keys()
