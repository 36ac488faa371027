"""list and watch: lines, what is delivered, and whom TLS trusts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consul_nginx.agent import api
from consul_nginx.agent.api import ConfigMapSource, GoneError, lines, tls_context
from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.settings import Settings
from consul_nginx.agent.state import State
from unit.certificates import handshake


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_lines_may_come_in_pieces_and_several_at_once() -> None:
    found = [line async for line in lines(chunks(b"a", b"b\nc\n\nd", b"\n", b"rest"))]
    assert found == [b"ab", b"c", b"d"]


async def test_a_line_may_be_as_long_as_a_configmap() -> None:
    found = [line async for line in lines(chunks(*[b"x" * 65536] * 30, b"\n"))]
    assert [len(line) for line in found] == [65536 * 30]


async def test_a_line_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_MAX_EVENT", 10)
    with pytest.raises(api.ApiError):
        _ = [line async for line in lines(chunks(b"x" * 11))]


@pytest.fixture
def delivered() -> list[Any]:
    return []


@pytest.fixture
def source(delivered: list[Any]) -> ConfigMapSource:
    environ = {"CONFIGMAP_NAME": "c", "POD_NAMESPACE": "n", "POD_NAME": "p"}
    return ConfigMapSource(
        settings=Settings.from_env({**environ, "KUBERNETES_API_URL": "http://localhost"}),
        deliver=delivered.append,
        metrics=Metrics(state=State, version="1"),
        log=Log(component="test"),
    )


def item(version: str, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": version}, "data": {}}


def test_each_version_is_delivered_once(source: ConfigMapSource, delivered: list[Any]) -> None:
    source._offer(item("1"))
    source._offer(item("1"))
    source._take({"type": "MODIFIED", "object": item("2")})
    source._take({"type": "BOOKMARK", "object": item("3")})
    source._offer(item("2", uid="another"))
    assert [one["metadata"]["resourceVersion"] for one in delivered] == ["1", "2", "2"]
    assert source._version == "3"


def test_absence_is_delivered_once(source: ConfigMapSource, delivered: list[Any]) -> None:
    source._offer(None)
    source._offer(None)
    source._take({"type": "ADDED", "object": item("1")})
    source._take({"type": "DELETED", "object": item("2")})
    assert delivered == [None, item("1"), None]


def test_gone_is_not_any_error(source: ConfigMapSource) -> None:
    with pytest.raises(GoneError):
        source._take({"type": "ERROR", "object": {"code": 410, "message": "too old"}})


@pytest.mark.parametrize("event", [None, [], {}, {"type": "ADDED"}, {"type": "ADDED", "object": 1}])
def test_what_is_no_event_is_an_error_to_try_again(source: ConfigMapSource, event: Any) -> None:
    with pytest.raises(api.ApiError):
        source._take(event)


def test_a_home_made_ca_is_trusted_on_every_python(
    home_made: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, server = home_made
    default = ssl.create_default_context

    def as_python_3_13(**options: Any) -> ssl.SSLContext:
        context = default(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server=server, client=ssl.create_default_context(cafile=str(ca)), name="api")
    handshake(server=server, client=tls_context(str(ca)), name="api")


def test_all_other_verification_stays(home_made: tuple[Path, ssl.SSLContext]) -> None:
    ca, server = home_made
    context = tls_context(str(ca))
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server=server, client=context, name="another")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server=server, client=ssl.create_default_context(), name="api")
