"""Files with the authorities by which backends and clients are verified. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from consul_nginx.model.authorities import authorities_id
from consul_nginx.model.mapping import BackendTls
from consul_nginx.model.nginx import AuthoritySlot
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive

# One that signed nothing, and whose key nobody has: by it, every backend is refused.
_NOBODY = """\
-----BEGIN CERTIFICATE-----
MIIBYzCCAQqgAwIBAgIUPvupvh9h/tIofxBjJsUcY1fO0UYwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwObm9ib2R5LmludmFsaWQwIBcNMjYwODE0MTcyNzI2WhgPMjEy
NjEwMjkxNzI3MjZaMBkxFzAVBgNVBAMMDm5vYm9keS5pbnZhbGlkMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEZYRdU5bAoBnE99ywiyAlw2Fbd3TcKmTdDbZZzgIm
xtqP0PzQ1fg+vwUuWmuTYHG8aGAwwrsyPeYWTTsf/x/mdKMuMCwwDwYDVR0TAQH/
BAUwAwEB/zAZBgNVHREEEjAQgg5ub2JvZHkuaW52YWxpZDAKBggqhkjOPQQDAgNH
ADBEAiBcJcsL3o+f7kh+tQVAczHpznGgsfOEbFAn2wHMF4hcrAIgLqhpYDlUR7cQ
/agYfdMVT5FjQtmffxz+9bHRUx531mM=
-----END CERTIFICATE-----
"""
# Of a chain of certificates: more authorities between than anybody has.
DEPTH = tokens.number(4, low=1, high=100)


def authority_file(identity: str) -> str:
    """Name of the file of some authorities."""
    return f"authority-{identity}.conf"


def authorities(slot: AuthoritySlot, *, previous: Mapping[str, str]) -> str:
    """The file itself: what is known, else what nginx has, else an authority that is nobody's."""
    return slot.pem or previous.get(authority_file(slot.id)) or _NOBODY


def verification(tls: BackendTls | None, *, module: str) -> Iterator[Token]:
    """What a location says of its backends' certificates; ``module`` is proxy or grpc."""
    if tls is None or not tls.authorities:
        return
    yield directive(f"{module}_ssl_verify", tokens.word("on"))
    yield directive(f"{module}_ssl_verify_depth", DEPTH)
    file = tokens.file_name(authority_file(authorities_id(tls.authorities)))
    yield directive(f"{module}_ssl_trusted_certificate", file)
