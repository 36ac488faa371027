"""``/metrics``, ``/healthz`` and ``/readyz`` of the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

Check = Callable[[], str | None]


@asynccontextmanager
async def serve(*, port: int, ready: Check) -> AsyncIterator[None]:
    """Serve while the context lasts; a check returns None, or what is wrong.

    Whoever answers is alive: what ends by a bug begins anew (``tasks.py``).
    """
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler())
    app.router.add_get("/healthz", _handler(lambda: None))
    app.router.add_get("/readyz", _handler(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _handler(check: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        problem = check()
        if problem is not None:
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(text="ok\n")

    return answer
