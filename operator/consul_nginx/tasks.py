"""Work that goes on as long as the process does: no bug may end it without a word.

An exception that nobody expected is one object's, one answer's or one moment's. To end the process
for it would take everything else with it, and at its start meet the same again; a task that is dead
looks like one that has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from consul_nginx.backoff import Backoff
from consul_nginx.metrics import TASK_CRASHES

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


def crashed(name: str, error: BaseException, *, what: str = "") -> None:
    """Tell of a bug, with its traceback; ``name`` is one of few, ``what`` says more to people."""
    TASK_CRASHES.labels(task=name).inc()
    _log.critical("%s ended: a bug", f"{name} {what}".strip(), exc_info=error)


async def forever(
    work: Callable[[], Awaitable[None]],
    *,
    name: str,
    what: str = "",
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Do ``work``, which never returns, and begin anew whenever it does; ends by cancellation.

    However ``work`` takes that. With growing pauses, unless it went well for longer than those are.
    ``name`` and ``what`` as ``crashed`` has them.
    """
    backoff = Backoff(first=FIRST_PAUSE_S, last=LONGEST_PAUSE_S)
    while True:
        began = clock()
        await _once(work, name=name, what=what)
        if clock() - began > LONGEST_PAUSE_S:
            backoff.reset()
        await sleep(backoff.next())


async def _once(work: Callable[[], Awaitable[None]], *, name: str, what: str) -> None:
    """Do ``work`` until it ends, and tell of that.

    In a task of its own: whether we are cancelled, or something below is, can't be seen else. Nor
    does a count of cancellations help: a ``TaskGroup`` in which something failed may leave one.
    """

    async def alone() -> None:
        await work()

    task = asyncio.create_task(alone(), name=f"{name} {what}".strip())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            _tell_end(task, name=name, what=what)
        raise
    _tell_end(task, name=name, what=what)


def _tell_end(task: asyncio.Task[None], *, name: str, what: str) -> None:
    try:
        task.result()
        crashed(name, RuntimeError("it returned"), what=what)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is
        crashed(name, error, what=what)


def unhandled(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For ``loop.set_exception_handler``: what was raised in a callback, or awaited by nobody."""
    error = context.get("exception")
    if error is None:
        loop.default_exception_handler(dict(context))
    else:
        crashed("callback", error, what=str(context.get("message", "")))
