"""TLS of a listener: what server blocks say of it, and the certificate files that they include."""

from __future__ import annotations

from collections.abc import Iterator

from consul_nginx.model.layout import Layout
from consul_nginx.model.nginx import CertificateSlot, Termination
from consul_nginx.model.secret_files import CERTIFICATE_PREFIX, NO_CERTIFICATE
from consul_nginx.nginx import tokens
from consul_nginx.nginx.authorities import DEPTH, authority_file
from consul_nginx.nginx.tokens import Token, directive

REFUSAL = directive("ssl_reject_handshake", tokens.word("on"))

# Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
_CIPHERS = Token(
    ":".join(
        f"ECDHE-{key}-{cipher}"
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
        for key in ("ECDSA", "RSA")
    )
)
_SESSIONS_FOR_S = 3600.0


def certificate_file(identity: str) -> str:
    """Name of a certificate's file."""
    return f"{CERTIFICATE_PREFIX}{identity}.conf"


def certificate(slot: CertificateSlot, *, layout: Layout) -> str:
    """The file itself, of one certificate or of none."""
    lines = [
        directive(name, tokens.pod_path(layout.secrets / file.name))
        for file in slot.files
        for name in ("ssl_certificate", "ssl_certificate_key")
    ]
    return "".join(f"{line}\n" for line in lines) or NO_CERTIFICATE


def showing(identity: str | None) -> Iterator[Token]:
    """What a server block says of its certificate; nothing without TLS."""
    if identity is not None:
        yield directive("include", tokens.file_name(certificate_file(identity)))


def encryption(tls: Termination | None, *, identity: str) -> Iterator[Token]:
    """What the server blocks of a listener have in common."""
    if tls is None:
        return
    yield directive("ssl_protocols", tokens.tls_protocols(tls.minimum))
    yield directive("ssl_ciphers", _CIPHERS)
    if tls.client_authorities is not None:
        yield directive("ssl_verify_client", tokens.word("on"))
        yield directive("ssl_verify_depth", DEPTH)
        file = tokens.file_name(authority_file(tls.client_authorities))
        yield directive("ssl_client_certificate", file)
    # The size is a part of the name: nginx refuses to reload a zone of another size.
    zone = tokens.identifier(f"tls_{identity}_1m")
    yield directive("ssl_session_cache", tokens.joined(Token("shared:"), zone, Token(":1m")))
    yield directive("ssl_session_timeout", tokens.duration(_SESSIONS_FOR_S))
    # The keys of tickets would live as long as nginx does.
    yield directive("ssl_session_tickets", tokens.word("off"))
