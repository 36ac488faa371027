"""Certificates as home-made CAs sign them, a handshake with them, and Secrets that hold them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import tempfile
import threading
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import NameOID


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


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def chain(self) -> bytes:
        return pem(self.certificate)


def issued(*hostnames: str, key: Any = None, days: float = 1, by: Issued | None = None) -> Issued:
    """A certificate for host names, signed by its own key if no issuer is named."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name(
        [
            x509.NameAttribute(
                NameOID.COMMON_NAME, (hostnames[0][:64] if hostnames else "") or "none"
            )
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    if by is None:
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    if hostnames:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in hostnames])
        builder = builder.add_extension(names, critical=False)
    signer = by.key if by else key
    has_own_hash = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    signed = builder.sign(signer, None if has_own_hash else hashes.SHA256())
    return Issued(certificate=signed, key=key)


def kept(values: dict[str, str]) -> Issued:
    """A certificate and its key, out of a Secret's values."""
    return Issued(
        certificate=x509.load_pem_x509_certificate(values["tls.crt"].encode()),
        key=serialization.load_pem_private_key(values["tls.key"].encode(), password=None),
    )


def tls_secret(name: str, made: Issued, *more: Issued) -> dict[str, Any]:
    """A Secret as the API server returns it; ``more`` are issuers."""
    values = {"tls.crt": b"".join(item.chain for item in (made, *more)), "tls.key": pem(made.key)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "type": "kubernetes.io/tls",
        "data": {key: b64encode(value).decode() for key, value in values.items()},
    }


def pem(thing: Any) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def show(context: ssl.SSLContext, made: Issued) -> None:
    """Python takes certificates and keys from files only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem(made.key) + made.chain)
        file.flush()
        context.load_cert_chain(file.name)


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


def home_made_ca(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA without key usage, and a server whose certificate has no authority key identifier."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificate(subject="ca", key=ca_key, issuer="ca", by=ca_key)
    leaf = certificate(subject="api", key=key, issuer="ca", by=ca_key)
    (folder / "ca.crt").write_bytes(pem(ca))
    (folder / "tls.pem").write_bytes(pem(key) + pem(leaf))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.pem")
    return folder / "ca.crt", server
