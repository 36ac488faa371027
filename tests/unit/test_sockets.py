"""Connections to the API server notice that its machine is gone, as far as the kernel is told.

With connections that really fall silent: tests/cluster.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.config import kube_config

from consul_nginx.agent.api import open_session
from consul_nginx.agent.settings import Settings
from consul_nginx.handlers.login import login
from consul_nginx.kube.client import NAMESPACE, connect
from consul_nginx.model.kubernetes import ObjectRef

NOTICED_S = 6


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestServer]:
    """Answers everything; a kubeconfig names it."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "default"}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as made:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            f"clusters: [{{name: a, cluster: {{server: '{made.make_url('/')}'}}}}]\n"
            "users: [{name: a, user: {token: secret}}]\n"
            "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
            "current-context: a\n"
        )
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        # Read when the client is imported.
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield made


def connected_to(port: int | None) -> Iterator[socket.socket]:
    """This process' own sockets that are connected to a port."""
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as found:
                if found.family == socket.AF_INET and found.getpeername()[1] == port:
                    yield found
        except OSError:
            continue


def noticed_after(port: int | None) -> set[tuple[float, float]]:
    """Seconds until a silent connection breaks: one that waits, and one that has sent something."""

    def seconds(found: socket.socket) -> tuple[float, float]:
        def tcp(option: int) -> int:
            return found.getsockopt(socket.IPPROTO_TCP, option)

        probed = tcp(socket.TCP_KEEPIDLE) + tcp(socket.TCP_KEEPCNT) * tcp(socket.TCP_KEEPINTVL)
        probes = found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return probed if probes else 0, tcp(socket.TCP_USER_TIMEOUT) / 1000

    return set(map(seconds, connected_to(port)))


async def test_those_of_the_operators_client(server: TestServer) -> None:
    async with connect() as kube:
        await kube.get(NAMESPACE, ObjectRef(namespace="", name="default"))
        assert noticed_after(server.port) == {(NOTICED_S, NOTICED_S)}


@pytest.mark.usefixtures("server")
async def test_kopf_makes_its_own() -> None:
    """One of ours that it closed is the same credentials again to it: it would wait for others."""
    found = login(settings=kopf.OperatorSettings())
    assert isinstance(found, kopf.ConnectionInfo)
    assert found.token == "secret"


async def test_those_of_the_agent(server: TestServer) -> None:
    environ = {"CONFIGMAP_NAME": "c", "POD_NAMESPACE": "n", "POD_NAME": "p"}
    url = str(server.make_url("/")).rstrip("/")
    settings = Settings.from_env({**environ, "KUBERNETES_API_URL": url})
    async with open_session(settings) as session, session.get(settings.configmaps_url):
        assert noticed_after(server.port) == {(NOTICED_S, NOTICED_S)}
