"""Whatever ends kopf, watching begins anew, and stops when it is told to."""

from __future__ import annotations

import asyncio
import threading

import kopf

from consul_nginx.handlers import watching


async def test_watching_begins_anew_when_kopf_ends_and_stops_at_once(monkeypatch):
    runs = []
    third = threading.Event()

    async def operator(*, stop_flag, **_):
        runs.append(stop_flag)
        if len(runs) < 3:
            raise RuntimeError("404 page not found")
        third.set()
        await stop_flag.wait()

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(watching, "FIRST_PAUSE_S", 0.01)

    async def kinds_exist():
        return True

    async with (
        asyncio.timeout(10),
        watching.watching(namespace=None, feeds={}, kinds_exist=kinds_exist),
    ):
        await asyncio.to_thread(third.wait, 5)
    assert len(runs) == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "kopf"]


async def test_kopf_is_not_begun_before_both_kinds_exist(monkeypatch):
    begun = threading.Event()
    answers = iter([False, False, True])
    asked = []

    async def operator(*, stop_flag, **_):
        begun.set()
        await stop_flag.wait()

    async def kinds_exist():
        asked.append(1)
        return next(answers)

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(watching, "FIRST_PAUSE_S", 0.01)
    async with watching.watching(namespace=None, feeds={}, kinds_exist=kinds_exist):
        assert await asyncio.to_thread(begun.wait, 5)
    assert len(asked) == 3
