"""list and watch of one ConfigMap, by name.

A field selector on ``metadata.name`` is what makes list and watch pass RBAC rules with
``resourceNames``. The connection is remade at least every five minutes, with the token as it is on
disk then, for the kubelet rotates it.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.settings import Settings
from consul_nginx.backoff import Backoff
from consul_nginx.sockets import watchful_socket

RELIST_AFTER = 280.0
# The API server sends a bookmark about once a minute; a stream that is silent for longer is dead,
# though its machine lives (``sockets.py``).
INACTIVITY = 90.0

_CONNECT_TIMEOUT = 10.0
_LIST_TIMEOUT = 30.0
_MAX_EVENT = 8 * 1024 * 1024

ConfigMap = dict[str, Any]


class ApiError(Exception):
    """The API server did not answer as hoped. Try again."""


class GoneError(ApiError):
    """The resource version is too old to watch from: list again, at once."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Clock, sleep and chance; tests bring their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = field(default=random.uniform)


class ConfigMapSource:
    """Delivers each new version of the ConfigMap once, and None when it was deleted."""

    def __init__(
        self,
        *,
        settings: Settings,
        deliver: Callable[[ConfigMap | None], None],
        metrics: Metrics,
        log: Log,
        timing: Timing | None = None,
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._metrics = metrics
        self._log = log
        self._timing = timing or Timing()
        self._version = ""
        self._delivered: object = ()  # neither a version nor None: the first answer is always new
        self._url = settings.configmaps_url
        self._params = {"fieldSelector": f"metadata.name={settings.configmap}"}

    async def run(self) -> None:
        """For ever: list, watch, and after any error again."""
        backoff = Backoff(first=0.1, last=10.0, uniform=self._timing.uniform)
        while True:
            try:
                async with open_session(self._settings) as session:
                    await self._list(session)
                    backoff.reset()
                    await self._watch_until_relist(session)
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                await self._after_error(error, backoff)

    async def _after_error(self, error: Exception, backoff: Backoff) -> None:
        gone = isinstance(error, GoneError)
        self._metrics.watch_error("gone" if gone else "error")
        pause = backoff.next()
        self._log.warning(
            "list or watch ended",
            error=str(error) or type(error).__name__,
            again_in=round(pause, 1),
        )
        await self._timing.sleep(pause)

    async def _list(self, session: aiohttp.ClientSession) -> None:
        timeout = aiohttp.ClientTimeout(total=_LIST_TIMEOUT, connect=_CONNECT_TIMEOUT)
        async with session.get(self._url, params=self._params, timeout=timeout) as answer:
            await check(answer)
            raw = await answer.json(content_type=None)
        try:
            self._version = raw["metadata"]["resourceVersion"]
            items = raw.get("items") or []
        except (KeyError, TypeError) as error:
            raise ApiError(f"the list is not a list: {error!r}") from error
        self._metrics.watch_event()
        self._offer(items[0] if items else None)

    async def _watch_until_relist(self, session: aiohttp.ClientSession) -> None:
        relist_at = self._timing.clock() + RELIST_AFTER
        while (left := relist_at - self._timing.clock()) > 1:
            seconds = max(1, int(min(left, 150.0) * self._timing.uniform(0.8, 1.0)))
            try:
                await self._watch(session, seconds=seconds)
            except aiohttp.SocketTimeoutError:
                self._metrics.watch_error("inactive")
                self._log.warning("watch was silent", seconds=INACTIVITY)

    async def _watch(self, session: aiohttp.ClientSession, *, seconds: int) -> None:
        params = {
            **self._params,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT, sock_read=INACTIVITY)
        started, events = self._timing.clock(), 0
        async with session.get(self._url, params=params, timeout=timeout) as answer:
            await check(answer)
            async for line in lines(answer.content.iter_any()):
                events += 1
                self._take(json.loads(line))
        if not events and self._timing.clock() - started < 1:
            # An API server (or a proxy) that ends every watch at once must not make us spin.
            raise ApiError("the watch ended at once")

    def _take(self, event: Any) -> None:
        self._metrics.watch_event()
        try:
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise _error_of(item.get("code"), item.get("message"))
            self._version = item["metadata"]["resourceVersion"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ApiError(f"the event is not an event: {error!r}") from error
        if kind in ("ADDED", "MODIFIED"):
            self._offer(item)
        elif kind == "DELETED":
            self._offer(None)

    def _offer(self, item: ConfigMap | None) -> None:
        """A relist brings what we have had already: only what is new goes on."""
        metadata = item.get("metadata", {}) if item else {}
        identity = item and (metadata.get("uid"), metadata.get("resourceVersion"))
        if identity != self._delivered:
            self._delivered = identity
            self._deliver(item)


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the token as it is on disk now."""
    headers = {"Accept": "application/json", "User-Agent": "consul-nginx-agent"}
    if settings.token_file.exists():
        headers["Authorization"] = f"Bearer {settings.token_file.read_text().strip()}"
    secure = settings.api_url.startswith("https://")
    context = tls_context(str(settings.ca_file)) if secure else False
    connector = aiohttp.TCPConnector(ssl=context, limit=2, socket_factory=watchful_socket)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Verify the API server as ever, but for the strictness that Python 3.13 added.

    ``VERIFY_X509_STRICT`` refuses CAs without key usage and certificates without authority key
    identifier, which home-made and older clusters have.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def check(answer: aiohttp.ClientResponse) -> None:
    """Raise ``ApiError`` in the API server's words unless it said yes."""
    if answer.status != 200:
        text = (await answer.content.read(300)).decode(errors="replace")
        raise _error_of(answer.status, text)


def _error_of(code: object, message: object) -> ApiError:
    text = f"the API server says {code}: {message}"
    return GoneError(text) if code == 410 else ApiError(text)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of any length that a ConfigMap can have; aiohttp's own end at 128 kB."""
    received = bytearray()
    async for chunk in chunks:
        start = len(received)
        received += chunk
        while (end := received.find(b"\n", start)) >= 0:
            line, start = bytes(received[:end]), 0
            del received[: end + 1]
            if line.strip():
                yield line
        if len(received) > _MAX_EVENT:
            raise ApiError("an event is larger than any ConfigMap")
