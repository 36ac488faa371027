"""The API server over HTTP: hundreds of writes at once, and a watch with the time of each event."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster

_AT_ONCE = 40
_LINE_LIMIT = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Api:
    """Requests as administrator; ``path`` is as in ``kubectl get --raw``."""

    session: aiohttp.ClientSession

    async def create(self, path: str, objects: Iterable[dict[str, Any]]) -> None:
        """Create objects of one kind, many at a time; those that exist stay as they are."""
        await self._all(self._send("POST", path, body) for body in objects)

    async def delete(self, paths: Iterable[str], *, force: bool = False) -> None:
        """Delete objects, many at a time; with ``force`` nobody is waited for."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions"}
        body |= {"gracePeriodSeconds": 0} if force else {}
        await self._all(self._send("DELETE", path, body) for path in paths)

    async def items(self, path: str) -> list[dict[str, Any]]:
        """All objects of a list."""
        async with self.session.get(path) as answer:
            answer.raise_for_status()
            found: list[dict[str, Any]] = (await answer.json())["items"]
        return found

    @asynccontextmanager
    async def watching(
        self, path: str, seen: Callable[[float, dict[str, Any]], None]
    ) -> AsyncIterator[None]:
        """Call ``seen`` with the time (``time.monotonic``) and the event of every change."""
        began = asyncio.Event()

        async def watch() -> None:
            async with self.session.get(path, params={"watch": "1"}) as answer:
                answer.raise_for_status()
                began.set()
                while line := await answer.content.readline():
                    seen(time.monotonic(), json.loads(line))

        task = asyncio.create_task(watch())
        try:
            waiting = asyncio.create_task(began.wait())
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _all(self, requests: Iterable[Coroutine[None, None, None]]) -> None:
        async with asyncio.TaskGroup() as sending:
            for request in requests:
                sending.create_task(request)

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        async with self.session.request(method, path, json=body) as answer:
            said = await answer.text()
            known = (method, answer.status) in (("POST", 409), ("DELETE", 404))
            if answer.status >= 400 and not known:
                raise AssertionError(f"{method} {path}: {answer.status} {said[:500]}")


@asynccontextmanager
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """Connections to the API server while the context lasts."""
    view = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    [server], [user] = view["clusters"], view["users"]
    context = ssl.create_default_context(
        cadata=b64decode(server["cluster"]["certificate-authority-data"]).decode()
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("certificate", "key"):
            (Path(folder) / name).write_bytes(b64decode(user["user"][f"client-{name}-data"]))
        context.load_cert_chain(Path(folder) / "certificate", Path(folder) / "key")
    connector = aiohttp.TCPConnector(ssl=context, limit=_AT_ONCE)
    async with aiohttp.ClientSession(
        server["cluster"]["server"], connector=connector, read_bufsize=_LINE_LIMIT
    ) as session:
        yield Api(session=session)
