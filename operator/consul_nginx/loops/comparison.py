"""The full comparison: every node, every few minutes, whatever events and watches said."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from consul_nginx.consul.errors import ConsulError

_log = logging.getLogger(__name__)

PERIOD_S = 300.0
RETRY_S = 2.0
# An unknown registration asks for a comparison; one that can't be removed must not do so for ever.
LEAST_PERIOD_S = 15.0


class Comparison:
    """Has every node compared; ``nodes`` tells which there are and raises ``ConsulError``."""

    def __init__(
        self,
        *,
        nodes: Callable[[], Awaitable[frozenset[str]]],
        compare: Callable[[str], None],
        leading: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._compare = compare
        self._leading = leading
        self._clock = clock
        self._wanted = asyncio.Event()
        self._at_once = asyncio.Event()
        self._open: set[str] = set()
        self._has_begun = False
        self._began = self._complete = clock()

    @property
    def age(self) -> float:
        """Seconds since the begin of the last comparison that is complete, or since the start."""
        return self._clock() - self._complete

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left of the comparison that began last."""
        return self._has_begun and not self._open

    def ask(self) -> None:
        """Something is there that nobody knows of: compare soon."""
        self._wanted.set()

    def ask_at_once(self) -> None:
        """Everything may be different: compare now."""
        self._at_once.set()
        self._wanted.set()

    def done(self, node: str) -> None:
        """A node was compared."""
        if node in self._open:
            self._open.discard(node)
            if not self._open:
                self._complete = self._began

    async def run(self) -> None:
        """Never returns."""
        while True:
            self._wanted.clear()
            self._at_once.clear()
            if self._leading() and not await self._begin():
                await asyncio.sleep(RETRY_S)
                continue
            await _wait(self._at_once, within=LEAST_PERIOD_S)
            await _wait(self._wanted, within=PERIOD_S - LEAST_PERIOD_S)

    async def _begin(self) -> bool:
        began = self._clock()
        try:
            nodes = await self._nodes()
        except ConsulError as error:
            _log.debug("no comparison: %s", error)
            return False
        self._began, self._open, self._has_begun = began, set(nodes), True
        if not nodes:
            self._complete = began
        for node in nodes:
            self._compare(node)
        return True


async def _wait(event: asyncio.Event, *, within: float) -> None:
    """Wait for the event, at most ``within`` seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        pass
