"""Certificates as home-made CAs sign them, and a handshake with them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
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
