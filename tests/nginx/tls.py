"""TLS from a client's side: which certificate, which protocol, which answer."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What a handshake ended with; ``serial`` tells certificates apart."""

    serial: int
    version: str | None
    alpn: str | None
    said: bytes


def greet(
    port: int,
    name: str | None,
    *,
    alpn: tuple[str, ...] = (),
    most: ssl.TLSVersion | None = None,
    send: bytes = b"",
) -> Greeting:
    """Shake hands, send a few bytes, read to the end; nothing is verified, all is told.

    Raises ``ssl.SSLError`` or ``OSError``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if most:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, most
        context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=name) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
        assert der
        said = b""
        if send:
            secure.sendall(send)
            while chunk := secure.recv(65536):
                said += chunk
        return Greeting(
            serial=x509.load_der_x509_certificate(der).serial_number,
            version=secure.version(),
            alpn=secure.selected_alpn_protocol(),
            said=said,
        )


def https_get(port: int, name: str, path: str = "/") -> Greeting:
    """HTTP/1.1 by hand, so that SNI and ``Host`` are ours."""
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    return greet(port, name, send=request.encode())
