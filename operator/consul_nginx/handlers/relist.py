"""Authoritative lists: what vanished while a watch was broken is found by them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from consul_nginx.kube.errors import KubeError

_log = logging.getLogger(__name__)

RETRY_S = 2.0
# A relist of kopf's hands over every object with no event type; one list of ours answers them all.
SETTLE_S = 0.5


class Relist:
    """Lists at start, when asked to, and every ``period`` seconds.

    ``take`` lists and raises ``KubeError``; ``what`` it lists is for the log. ``listed`` is set
    once it succeeded for the first time.
    """

    def __init__(self, *, take: Callable[[], Awaitable[None]], what: str, period: float) -> None:
        self._take = take
        self._what = what
        self._period = period
        self._wanted = asyncio.Event()
        self.listed = asyncio.Event()

    def ask(self) -> None:
        """A watch began anew: list soon."""
        if self.listed.is_set():
            self._wanted.set()

    async def run(self) -> None:
        """Never returns; an API server that does not answer is asked again."""
        failing = False
        while True:
            self._wanted.clear()
            try:
                await self._take()
            except KubeError as error:
                if not failing:
                    _log.warning("can't list %s, trying on: %s", self._what, str(error).strip())
                failing = True
                await asyncio.sleep(RETRY_S)
                continue
            self.listed.set()
            if failing:
                _log.info("%s can be listed again", self._what)
            failing = False
            try:
                async with asyncio.timeout(self._period):
                    await self._wanted.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass
