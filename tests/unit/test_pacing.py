"""When a node is compared because of its Pods."""

from __future__ import annotations

import asyncio

from consul_nginx.loops.pacing import AT_ONCE, PER_SECOND, Pacer
from consul_nginx.loops.queue import WorkQueue


async def work(queue: WorkQueue[str]) -> int:
    """Work on all that waits; how often."""
    count = 0
    while queue.depth:
        queue.done(await queue.get())
        count += 1
    return count


async def test_the_events_of_a_lone_pod_do_not_wait():
    queue: WorkQueue[str] = WorkQueue(name="register")
    pacer = Pacer(queue=queue)
    for _ in range(AT_ONCE):
        pacer.changed("node-1")
        assert await work(queue) == 1


async def test_of_many_events_each_is_followed_by_a_comparison_soon():
    queue: WorkQueue[str] = WorkQueue(name="register")
    now = 0.0
    pacer = Pacer(queue=queue, clock=lambda: now)
    worked = 0
    for _ in range(100):
        pacer.changed("node-1")
        worked += await work(queue)
    assert worked == AT_ONCE
    pacer.changed("node-2")
    assert await work(queue) == 1, "another node does not wait for it"
    async with asyncio.timeout(4 / PER_SECOND):
        assert await queue.get() == "node-1"
    queue.done("node-1")
    now = 100.0
    pacer.changed("node-1")
    assert await work(queue) == 1, "a quiet node does not wait"
    queue.close()


async def test_events_for_ten_seconds_are_so_many_comparisons():
    queue: WorkQueue[str] = WorkQueue(name="register")
    now, worked = 0.0, 0
    pacer = Pacer(queue=queue, clock=lambda: now)
    for _ in range(1000):
        now += 0.01
        pacer.changed("node-1")
        worked += await work(queue)
    assert worked <= AT_ONCE + 10 * PER_SECOND
    queue.close()
