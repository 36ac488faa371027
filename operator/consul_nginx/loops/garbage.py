"""Python's garbage, looked for while nobody waits.

A full collection looks at every object, for 50 ms with 1,000 mappings, and Python begins it in the
midst of whatever makes objects: of a change that nginx waits for. So what has lived until a quiet
moment is set aside, where only the next quiet moment's collection looks. It goes when nobody refers
to it, as ever; of those that refer to each other that is found out a bit later.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

PERIOD_S = 120.0
LOOK_AGAIN_S = 1.0


async def collect_in_quiet(
    *, quiet: Callable[[], bool], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Never returns; collects after every period, as soon as it is quiet."""
    while True:
        await sleep(PERIOD_S)
        while not quiet():
            await sleep(LOOK_AGAIN_S)
        collect()


def collect() -> None:
    """Collect everything there is, and set aside what is left."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
