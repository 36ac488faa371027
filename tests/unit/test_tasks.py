"""What must go on goes on, whatever happens, and people are told."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

import pytest

from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import Answer
from consul_nginx.consul.facts import FactWatches
from consul_nginx.kube.errors import KubeUnavailable
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.sight import Sight
from consul_nginx.loops.worker import work
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.facts import ServicesQuery
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.tasks import LONGEST_PAUSE_S, forever, unhandled
from unit.factories import instance

EDGE = ObjectRef(namespace="shop", name="edge")


class Pauses:
    """Sleeps by noting it, and ends the test's task after so many."""

    def __init__(self, at_most):
        self.taken, self.at_most, self.now = [], at_most, 0.0

    async def sleep(self, seconds):
        self.taken.append(seconds)
        if len(self.taken) == self.at_most:
            asyncio.current_task().cancel()
        await asyncio.sleep(0)


async def run(work, *, pauses):
    task = asyncio.create_task(
        forever(work, name="test", what="of it", sleep=pauses.sleep, clock=lambda: pauses.now)
    )
    await asyncio.wait([task])
    return task


async def test_a_bug_is_told_with_its_traceback_and_the_work_begins_anew(crashes, caplog):
    began = []

    async def work():
        began.append(1)
        raise KeyError("nobody thought of that")

    task = await run(work, pauses=Pauses(3))
    assert task.cancelled()
    assert (len(began), crashes()) == (3, 3)
    assert "test of it ended: a bug" in caplog.text
    assert "KeyError: 'nobody thought of that'" in caplog.text
    assert "in work" in caplog.text


async def test_pauses_grow_up_to_a_bound_and_are_short_again_after_a_good_time(crashes):
    pauses, lives = Pauses(14), itertools.chain([0] * 12, [LONGEST_PAUSE_S + 1, 0])

    async def work():
        pauses.now += next(lives)
        raise ValueError

    await run(work, pauses=pauses)
    assert pauses.taken[0] <= 0.5
    assert LONGEST_PAUSE_S / 2 <= pauses.taken[11] <= LONGEST_PAUSE_S
    assert pauses.taken[12] <= 0.5
    assert crashes() == 14


async def test_work_that_returns_begins_anew_too(crashes):
    async def work():
        return

    await run(work, pauses=Pauses(2))
    assert crashes() == 2


async def test_what_is_cancelled_below_ends_nothing_and_cancelling_the_task_does(crashes):
    reached = asyncio.Event()

    async def work():
        if crashes() < 1:
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(forever(work, name="test", sleep=Pauses(9).sleep))
    async with asyncio.timeout(5):
        await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert crashes() == 1


@pytest.mark.parametrize("end", ["raises", "returns"])
async def test_work_that_ends_otherwise_when_it_is_cancelled_ends_the_task(end, crashes):
    reached = asyncio.Event()

    async def work():
        try:
            reached.set()
            await asyncio.Event().wait()
        finally:
            if end == "raises":
                raise KubeUnavailable("no farewell")
            return  # noqa: B012 - that is the bug

    task = asyncio.create_task(forever(work, name="test"))
    async with asyncio.timeout(5):
        await reached.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert crashes() == 1, "people are told, as of any other bug"


async def test_work_begins_anew_also_after_something_in_its_group_failed(crashes):
    reached = asyncio.Event()

    async def fails():
        raise ValueError

    async def work():
        if crashes() < 2:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        if crashes() < 3:
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(forever(work, name="test", sleep=Pauses(9).sleep))
    async with asyncio.timeout(5):
        await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert crashes() == 3


async def test_what_a_callback_raises_is_counted(crashes, caplog):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(unhandled)
    loop.call_soon(lambda: {}["missing"])
    await asyncio.sleep(0)
    assert crashes() == 1
    assert "KeyError: 'missing'" in caplog.text


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a test looks on
            await asyncio.sleep(0.005)


POISON, FINE = ServiceQuery(service="poison"), ServiceQuery(service="fine")


class Buggy:
    """Answers; about ``poison`` so that the client stumbles, while it is told to."""

    def __init__(self):
        self.poisonous, self.asked = True, 0

    async def service(self, *, query, index=0, consistent=False):
        self.asked += 1
        if query == POISON and self.poisonous:
            raise ZeroDivisionError
        if index:
            await asyncio.Event().wait()
        return Answer(index=5, instances=(instance(),))

    async def moved(self, **_):
        if self.poisonous:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    async def fact(self, *, question, index=0, consistent=False):
        if self.poisonous:
            raise ZeroDivisionError
        if index:
            await asyncio.Event().wait()
        return 5, ()


@pytest.mark.parametrize("blocking", [0, 2])
async def test_a_bug_in_one_watch_costs_no_other_and_heals_when_it_is_gone(blocking, crashes):
    reader = Buggy()
    catalog = Catalog(
        reader=reader, changed=lambda _: None, max_blocking=blocking, sweep_pause=0.01
    )
    catalog.watch_only([POISON, FINE])
    await until(lambda: crashes() and FINE in catalog.snapshot())
    assert POISON not in catalog.snapshot()
    reader.poisonous = False
    await until(lambda: catalog._bells or blocking)
    catalog._rung.set()
    await until(lambda: POISON in catalog.snapshot())
    await catalog.close()


async def test_a_bug_in_the_watch_of_a_fact_heals_when_it_is_gone(crashes):
    reader = Buggy()
    watches = FactWatches(reader=reader, changed=lambda _: None)
    question = ServicesQuery()
    watches.watch_only([question])
    await until(crashes)
    reader.poisonous = False
    await until(lambda: question in watches.facts())
    await watches.close()


async def test_a_key_is_worked_on_again_when_what_it_waited_for_was_cancelled(crashes):
    queue = WorkQueue(name="test")
    seen = []

    async def reconcile(key):
        seen.append(key)
        if len(seen) == 1:
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

    flow = partial(work, name="test", queue=queue, reconcile=reconcile)
    task = asyncio.create_task(forever(flow, name="test", sleep=lambda _: asyncio.sleep(0)))
    queue.add(EDGE)
    await until(lambda: seen == [EDGE, EDGE])
    assert crashes() == 1
    task.cancel()


async def test_an_object_whose_look_has_a_bug_is_looked_at_again(crashes, monkeypatch):
    monkeypatch.setattr("consul_nginx.loops.sight.PERIOD_S", 0.01)
    looks = iter(["first", ZeroDivisionError(), KubeUnavailable("away"), "second"])
    changed = []

    async def look(_):
        found = next(looks, "second")
        if isinstance(found, Exception):
            raise found
        return found

    sight = Sight(look=look, changed=changed.append)
    await sight.findings(EDGE, [EDGE])
    task = asyncio.create_task(forever(sight.run, name="test", sleep=lambda _: asyncio.sleep(0)))
    await until(lambda: changed == [EDGE])
    assert crashes() == 1
    task.cancel()
