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
    backoff, task = Backoff(first=FIRST_PAUSE_S, last=LONGEST_PAUSE_S), asyncio.current_task()
    while True:
        began = clock()
        try:
            await work()
            crashed(name, RuntimeError("it returned"), what=what)
        except asyncio.CancelledError as error:
            # Something that it waited for may have been cancelled: that is no end of ours.
            if task is None or task.cancelling():
                raise
            crashed(name, error, what=what)
        except Exception as error:  # noqa: BLE001 - whatever it is
            crashed(name, error, what=what)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if clock() - began > LONGEST_PAUSE_S:
            backoff.reset()
        await sleep(backoff.next())


def unhandled(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For ``loop.set_exception_handler``: what was raised in a callback, or awaited by nobody."""
    error = context.get("exception")
    if error is None:
        loop.default_exception_handler(dict(context))
    else:
        crashed("callback", error, what=str(context.get("message", "")))
