"""``:9901``: status for the operator, metrics for Prometheus, health for the kubelet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from consul_nginx.agent import stub_status
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.settings import Settings
from consul_nginx.agent.state import State, to_json

_METRICS_TYPE = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

Handler = Callable[[web.Request], Awaitable[web.Response]]


def _answer(*, good: bool, yes: str, no: str) -> web.Response:
    return web.Response(text=(yes if good else no) + "\n", status=200 if good else 503)


def application(
    *, settings: Settings, state: Callable[[], State], metrics: Metrics
) -> web.Application:
    """The routes of ``docs/reference/bundle.md``."""

    async def status(_: web.Request) -> web.Response:
        return web.json_response(to_json(state(), configmap=settings.configmap))

    async def figures(_: web.Request) -> web.Response:
        path = str(settings.layout.status_socket)
        metrics.nginx.connections = await stub_status.ask(path)
        return web.Response(body=metrics.text(), headers=_METRICS_TYPE)

    async def healthz(_: web.Request) -> web.Response:
        return _answer(good=True, yes="the loop turns", no="")

    async def startedz(_: web.Request) -> web.Response:
        return _answer(good=state().unpacked, yes="unpacked", no="no bundle is unpacked yet")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(good=state().ready, yes="nginx serves a bundle", no="nginx serves nothing")

    app = web.Application()
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", figures)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/startedz", startedz)
    app.router.add_get("/readyz", readyz)
    return app


async def serve(app: web.Application, *, port: int) -> web.AppRunner:
    """Listen on every address; raises ``OSError`` when the port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()
    return runner
