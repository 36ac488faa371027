"""An API server with one ConfigMap, its shards, and Secrets: it answers as the real one does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from consul_nginx.model.encoding import Content, Encoded

LIST = "/api/v1/namespaces/web/configmaps"
SECRETS = "/api/v1/namespaces/web/secrets"


class FakeApi:
    """Runs in a thread of its own; its state is changed by ``put`` and ``delete``."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], str]] = []
        self.port = 0
        self.fail: int | None = None
        self._version = 100
        self._item: dict[str, Any] | None = None
        self._shards: dict[str, dict[str, Any]] = {}
        self._secrets: dict[str, dict[str, Any]] = {}
        self._watches: set[asyncio.Queue[dict[str, Any] | None]] = set()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._up.wait(5)

    @property
    def watches(self) -> int:
        return len(self._watches)

    def write(self, encoded: Encoded) -> None:
        """As the operator does: shards first."""
        for number, content in encoded.shards.items():
            self.put_shard(number, content)
        self.put(encoded.main)

    def put(self, content: Content) -> None:
        self._call(self._put, content)

    def put_shard(self, number: int, content: Content) -> None:
        self._call(self._shards.update, {f"edge-config-{number}": _maps(content)})

    def put_secret(self, raw: dict[str, Any]) -> None:
        self._call(self._secrets.update, {raw["metadata"]["name"]: raw})

    def delete_secret(self, name: str) -> None:
        self._call(self._secrets.pop, name)

    def delete(self) -> None:
        self._call(self._send, {"type": "DELETED", "object": self._item})
        self._item = None

    def send(self, event: dict[str, Any]) -> None:
        self._call(self._send, event)

    def hang_up(self) -> None:
        self._call(self._send, None)

    def stop(self) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, function: Any, *arguments: Any) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(*arguments), done.set()))
        assert done.wait(5)

    def _put(self, content: Content) -> None:
        self._version += 1
        kind = "MODIFIED" if self._item else "ADDED"
        metadata = {"name": "edge-config", "uid": "u1", "resourceVersion": str(self._version)}
        self._item = {"metadata": metadata, **_maps(content)}
        self._send({"type": kind, "object": self._item})

    def _send(self, event: dict[str, Any] | None) -> None:
        for queue in self._watches:
            queue.put_nowait(event)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._up.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get(LIST, self._answer)
        app.router.add_get(f"{LIST}/{{name}}", self._answer_shard)
        app.router.add_get(f"{SECRETS}/{{name}}", self._answer_secret)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.query), request.headers.get("Authorization", "")))
        if self.fail:
            return web.json_response({"code": self.fail}, status=self.fail)
        assert request.query["fieldSelector"] == "metadata.name=edge-config"
        if request.query.get("watch") == "1":
            return await self._watch(request)
        items = [self._item] if self._item else []
        return web.json_response(
            {"metadata": {"resourceVersion": str(self._version)}, "items": items}
        )

    async def _answer_shard(self, request: web.Request) -> web.StreamResponse:
        return self._answer_one(self._shards.get(request.match_info["name"]))

    async def _answer_secret(self, request: web.Request) -> web.StreamResponse:
        return self._answer_one(self._secrets.get(request.match_info["name"]))

    def _answer_one(self, found: dict[str, Any] | None) -> web.StreamResponse:
        if self.fail:
            return web.json_response({"code": self.fail}, status=self.fail)
        return web.json_response(found or {"code": 404}, status=200 if found else 404)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        if self._item and int(request.query["resourceVersion"]) < self._version:
            queue.put_nowait({"type": "MODIFIED", "object": self._item})
        self._watches.add(queue)
        try:
            await answer.prepare(request)
            while event := await queue.get():
                await answer.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass
        finally:
            self._watches.discard(queue)
        return answer


def _maps(content: Content) -> dict[str, Any]:
    """The API server leaves empty maps out."""
    maps = {"data": dict(content.data), "binaryData": dict(content.binary_data)}
    return {name: values for name, values in maps.items() if values}


@contextlib.contextmanager
def fake_api() -> Iterator[FakeApi]:
    api = FakeApi()
    try:
        yield api
    finally:
        api.stop()
