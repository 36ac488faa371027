"""Objects that hold certificates of authorities in ``ca.crt``: Secrets and ConfigMaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from consul_nginx.model.authorities import CA_KEY, AuthorityKind
from consul_nginx.model.secret_files import SecretContentError, content_of
from consul_nginx.resources.tls_secret import UNREADABLE

MAX_CERTIFICATES = 64
_MAX_CHARACTERS = 256 * 1024


class AuthoritiesError(ValueError):
    """They can't be used; the message says why."""


def parse_authorities(*, kind: AuthorityKind, raw: Mapping[str, Any]) -> str:
    """The certificates in PEM, and nothing else that stands there. Raises ``AuthoritiesError``."""
    try:
        found = x509.load_pem_x509_certificates(_content(kind=kind, data=raw.get("data") or {}))
    except UNREADABLE as error:
        if isinstance(error, SecretContentError):
            raise AuthoritiesError(str(error)) from error
        raise AuthoritiesError(f"{CA_KEY} holds no certificate in PEM that can be read") from error
    if len(found) > MAX_CERTIFICATES:
        raise AuthoritiesError(
            f"{CA_KEY} holds {len(found)} certificates; at most {MAX_CERTIFICATES} may be"
        )
    return "".join(item.public_bytes(Encoding.PEM).decode("ascii") for item in found)


def _content(*, kind: AuthorityKind, data: Mapping[str, str]) -> bytes:
    if kind is AuthorityKind.SECRET:
        return content_of(data=data, keys=(CA_KEY,))
    if CA_KEY not in data:
        has = ", ".join(sorted(data)) or "none"
        raise SecretContentError(f"it has no key {CA_KEY}; it has: {has}")
    return data[CA_KEY][:_MAX_CHARACTERS].encode()
