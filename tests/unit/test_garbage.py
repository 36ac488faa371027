"""Garbage is looked for while nobody waits, and found."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from consul_nginx.loops.garbage import LOOK_AGAIN_S, PERIOD_S, collect, collect_in_quiet


@pytest.fixture(autouse=True)
def afterwards():
    yield
    gc.unfreeze()


class Thing:
    """One that can refer to itself."""


def test_what_lives_is_set_aside_and_found_once_nobody_refers_to_it():
    plain, cycle = Thing(), Thing()
    cycle.itself = cycle
    collect()
    assert not any(item is cycle or item is plain for item in gc.get_objects())
    dead = weakref.ref(plain), weakref.ref(cycle)
    del plain, cycle
    assert dead[0]() is None
    gc.collect()
    assert dead[1]() is not None
    collect()
    assert dead[1]() is None


async def test_it_waits_until_it_is_quiet():
    slept, quiet = [], iter([False, False, True])

    async def sleep(seconds):
        if gc.get_freeze_count():
            raise asyncio.CancelledError
        slept.append(seconds)

    with pytest.raises(asyncio.CancelledError):
        await collect_in_quiet(quiet=lambda: next(quiet), sleep=sleep)
    assert slept == [PERIOD_S, LOOK_AGAIN_S, LOOK_AGAIN_S]
