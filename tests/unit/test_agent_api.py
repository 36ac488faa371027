"""list and watch: lines, what is delivered, and whom TLS trusts."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consul_nginx.agent import api
from consul_nginx.agent.api import ConfigMapSource, GoneError, lines, tls_context
from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.settings import Settings
from consul_nginx.agent.state import State


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


def certificate(
    *, subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """As home-made CAs sign: no key usage, no key identifiers."""
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (subject, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    )
    return builder.sign(by, hashes.SHA256())


def pem(thing: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def handshake(*, server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with ours, contextlib.suppress(OSError):  # ssl.SSLError is one
            server.wrap_socket(ours, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(theirs, server_hostname=name).close()
    finally:
        theirs.close()
        thread.join()


@pytest.fixture
def home_made(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA without key usage, and a server whose certificate has no authority key identifier."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificate(subject="ca", key=ca_key, issuer="ca", by=ca_key)
    leaf = certificate(subject="api", key=key, issuer="ca", by=ca_key)
    (tmp_path / "ca.crt").write_bytes(pem(ca))
    (tmp_path / "tls.pem").write_bytes(pem(key) + pem(leaf))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.pem")
    return tmp_path / "ca.crt", server


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
