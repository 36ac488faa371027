"""More services than Consul allows connections: every change is seen all the same."""

from __future__ import annotations

import asyncio

import pytest

from consul_nginx.consul.bell import Bell
from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.model.consul import ConsulSource, ServiceQuery
from unit.factories import instance

ONE, TWO = (instance("10.0.0.1"),), (instance("10.0.0.1"), instance("10.0.0.2"))
QUERIES = tuple(ServiceQuery(service=f"s{number}") for number in range(6))


class Consul:
    """Answers blocking queries when something changed (unit level only)."""

    def __init__(self):
        self.index = 1
        self.instances = dict.fromkeys(QUERIES, ONE)
        self.moved_at = dict.fromkeys(QUERIES, 1)
        self.blocking = set()
        self.most_blocking = 0
        self.down = False
        self._changed = asyncio.Condition()

    async def change(self, query, instances):
        async with self._changed:
            self.index += 1
            self.instances[query], self.moved_at[query] = instances, self.index
            self._changed.notify_all()

    async def service(self, *, query, index=0, consistent=False):
        if self.down:
            raise ConsulUnavailable("no route to host")
        if index:
            self.blocking.add(query)
            self.most_blocking = max(self.most_blocking, len(self.blocking))
            try:
                async with self._changed:
                    await self._changed.wait_for(lambda: self.moved_at[query] > index)
            finally:
                self.blocking.discard(query)
        return Answer(index=self.index, instances=self.instances[query])

    async def moved(self, *, place, source, datacenter, index):
        async with self._changed:
            await self._changed.wait_for(lambda: self.index > index)
            return self.index


@pytest.fixture
def consul():
    return Consul()


@pytest.fixture
async def catalog(consul):
    made = Catalog(reader=consul, changed=lambda _: None, max_blocking=2, sweep_pause=0.01)
    made.watch_only(QUERIES)
    await made.heard(QUERIES, patience=5)
    yield made
    await made.close()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a test looks on
            await asyncio.sleep(0.005)


async def test_all_services_are_known_with_two_blocking_queries(catalog, consul):
    assert {catalog.snapshot()[query].instances for query in QUERIES} == {ONE}
    await until(lambda: len(consul.blocking) == 2)
    assert consul.most_blocking == 2


async def test_a_change_of_one_without_a_blocking_query_is_seen_and_gets_it_one(catalog, consul):
    await until(lambda: len(consul.blocking) == 2)
    quiet = next(query for query in QUERIES if query not in consul.blocking)
    await consul.change(quiet, TWO)
    await until(lambda: catalog.snapshot()[quiet].instances == TWO)
    await until(lambda: quiet in consul.blocking)
    assert consul.most_blocking == 2


async def test_the_quietest_one_makes_room_and_is_still_watched(catalog, consul):
    await until(lambda: len(consul.blocking) == 2)
    for query in QUERIES:
        await consul.change(query, TWO)
    await until(lambda: all(catalog.snapshot()[q].instances == TWO for q in QUERIES))
    for query in QUERIES:
        await consul.change(query, ONE)
    await until(lambda: all(catalog.snapshot()[q].instances == ONE for q in QUERIES))
    assert consul.most_blocking == 2


async def test_connections_that_become_free_are_used(catalog, consul):
    await until(lambda: len(consul.blocking) == 2)
    left = [query for query in QUERIES if query not in consul.blocking][:2]
    catalog.watch_only(left)
    await until(lambda: consul.blocking == set(left))
    assert catalog.watched == 2


async def test_a_consul_that_comes_back_is_noticed_for_all(catalog, consul, monkeypatch):
    monkeypatch.setattr("consul_nginx.consul.catalog.SWEEP_WHEN_FAILING_S", 0.01)
    consul.down = True
    await consul.change(QUERIES[0], TWO)
    await until(lambda: catalog.failing > 2)
    consul.down = False
    await until(lambda: catalog.failing == 0)
    assert catalog.snapshot()[QUERIES[0]].instances == TWO


class AtOnce:
    """Answers at once, each time with another index."""

    asked = 0

    async def moved(self, *, place, source, datacenter, index):
        self.asked += 1
        return index + 1


async def test_what_answers_at_once_is_not_asked_without_pause(monkeypatch):
    pauses, listener, sleep = [], AtOnce(), asyncio.sleep

    async def noted(seconds):
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("consul_nginx.consul.bell.asyncio.sleep", noted)
    bell = Bell(listener=listener, source=ConsulSource(), datacenter="", ring=lambda: None)
    task = asyncio.create_task(bell.run())
    while listener.asked < 60:
        await sleep(0)
    task.cancel()
    assert max(pauses) > 1


async def test_nothing_is_left_running(catalog, consul):
    await catalog.close()
    assert not consul.blocking


class Late:
    """Answers for the first query never, and for the others when the gate opens."""

    def __init__(self, first):
        self.first, self.gate, self.asked = first, asyncio.Event(), []

    async def service(self, *, query, index=0, consistent=False):
        self.asked.append(query)
        await (asyncio.Event() if query == self.first else self.gate).wait()
        return Answer(index=5, instances=(instance(),))

    async def moved(self, **_):
        await asyncio.Event().wait()


async def test_an_answer_for_a_query_that_nobody_asks_any_more_is_let_go():
    first, gone, other = (ServiceQuery(service=name) for name in ("first", "gone", "other"))
    consul = Late(first)
    catalog = Catalog(reader=consul, changed=lambda _: None, max_blocking=1, sweep_pause=0.01)
    catalog.watch_only([first, gone])
    await until(lambda: gone in consul.asked)
    catalog.watch_only([first, other])
    consul.gate.set()
    await until(lambda: other in catalog.snapshot())
    assert set(catalog.snapshot()) == {other}
    await catalog.close()
