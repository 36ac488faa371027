"""TLS from both sides of nginx: clients that tell what they see, backends with certificates."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from unit.certificates import Issued, show


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What a handshake ended with; ``serial`` tells certificates apart."""

    serial: int
    names: tuple[str, ...]
    version: str | None
    alpn: str | None
    said: bytes


def greet(
    port: int,
    name: str | None,
    *,
    alpn: tuple[str, ...] = (),
    most: str | None = None,
    ciphers: str = "ALL:@SECLEVEL=0",
    send: bytes = b"",
    lines: int | None = None,
    client: Issued | None = None,
) -> Greeting:
    """Shake hands, send a few bytes, read to the end, or so many ``lines``; nothing is verified.

    ``most`` is the newest version that the client speaks, as a name of ``ssl.TLSVersion``, with
    ``ciphers``.
    Raises ``ssl.SSLError`` or ``OSError``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client is not None:
        show(context, client)
    if alpn:
        context.set_alpn_protocols(alpn)
    if most:
        context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion[most]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=name) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
        assert der
        said = b""
        if send:
            secure.sendall(send)
            while (lines is None or said.count(b"\n") < lines) and (chunk := secure.recv(65536)):
                said += chunk
        shown = x509.load_der_x509_certificate(der)
        extension = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return Greeting(
            serial=shown.serial_number,
            names=tuple(extension.value.get_values_for_type(x509.DNSName)),
            version=secure.version(),
            alpn=secure.selected_alpn_protocol(),
            said=said,
        )


def https_get(port: int, name: str, path: str = "/", *, client: Issued | None = None) -> Greeting:
    """HTTP/1.1 by hand, so that SNI and ``Host`` are ours."""
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    return greet(port, name, send=request.encode(), client=client)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@dataclass
class Backend:
    """Sends its name over each connection and closes it, with TLS if it has a certificate."""

    name: str
    made: Issued | None = None
    place: tuple[str, int] = ("127.0.0.1", 0)
    server: Any = field(init=False)

    def __post_init__(self) -> None:
        answer = (
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.name)}\r\n"
            f"Connection: close\r\n\r\n{self.name}"
        ).encode()
        context = _server_context(self.made)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # ssl.SSLError is one
                    connection = self.request
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        self.server = _Server(self.place, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _server_context(made: Issued | None) -> ssl.SSLContext | None:
    if made is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    show(context, made)
    return context
