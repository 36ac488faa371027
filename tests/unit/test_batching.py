"""When a change goes out."""

from __future__ import annotations

import asyncio

import pytest

from consul_nginx.loops.batching import BYTES_PER_S, Batcher, History, due
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.model.kubernetes import Batching, ObjectRef

USUAL = Batching(quiet_period=0.1, max_delay=1.0, min_interval=0.0)


@pytest.mark.parametrize(
    ("history", "batching", "expected"),
    [
        pytest.param(History(), USUAL, 100.0, id="the first one at once"),
        pytest.param(History(written_at=99.8), USUAL, 100.0, id="a lone one at once"),
        pytest.param(History(written_at=99.95), USUAL, 100.1, id="the next after a quiet period"),
        pytest.param(
            History(written_at=99.95, pending_since=99.96),
            USUAL,
            100.1,
            id="each one more starts the quiet period anew",
        ),
        pytest.param(
            History(written_at=99.95, pending_since=99.05),
            USUAL,
            100.05,
            id="but none waits longer than the maximum delay",
        ),
        pytest.param(
            History(written_at=99.5),
            Batching(quiet_period=0.1, max_delay=1.0, min_interval=5.0),
            104.5,
            id="reloads are at least the minimum interval apart",
        ),
        pytest.param(History(written_at=98.0, free_at=103.0), USUAL, 103.0, id="bytes have a rate"),
    ],
)
def test_when_a_change_goes_out(history, batching, expected):
    assert due(history=history, batching=batching, now=100.0) == pytest.approx(expected)


async def test_a_batch_goes_out_once_with_all_that_came_meanwhile():
    now = 100.0
    queue = WorkQueue(name="apply")
    edge = ObjectRef(namespace="shop", name="edge")
    batcher = Batcher(queue=queue, settings=lambda _: USUAL, clock=lambda: now)
    batcher.changed(edge)
    assert await queue.get() == edge
    batcher.began(edge)
    batcher.wrote(edge, 1000)
    batcher.ended(edge)
    queue.done(edge)
    for _ in range(5):
        batcher.changed(edge)
    assert queue.depth == 0
    async with asyncio.timeout(5):
        assert await queue.get() == edge
    queue.done(edge)
    assert queue.depth == 0


@pytest.mark.parametrize("written", [True, False])
async def test_a_change_that_comes_while_another_goes_out_is_due_by_what_was_written(written):
    now = 100.0
    queue = WorkQueue(name="apply")
    edge = ObjectRef(namespace="shop", name="edge")
    every_4_s = Batching(quiet_period=0.1, max_delay=1.0, min_interval=4.0)
    batcher = Batcher(queue=queue, settings=lambda _: every_4_s, clock=lambda: now)
    batcher.changed(edge)
    assert await queue.get() == edge
    batcher.began(edge)
    batcher.changed(edge)
    if written:
        batcher.wrote(edge, 1000)
    batcher.ended(edge)
    queue.done(edge)
    assert queue.depth == (0 if written else 1)
    queue.close()


async def test_what_was_written_counts_against_the_rate_of_bytes():
    now = 100.0
    queue = WorkQueue(name="apply")
    edge = ObjectRef(namespace="shop", name="edge")
    batcher = Batcher(queue=queue, settings=lambda _: USUAL, clock=lambda: now)
    batcher.wrote(edge, 60 * BYTES_PER_S)
    now = 101.0
    batcher.changed(edge)
    assert queue.depth == 0
    queue.close()
