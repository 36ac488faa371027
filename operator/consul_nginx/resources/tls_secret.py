"""Secrets of type kubernetes.io/tls: what nginx can use, and what to say of the others.

What is checked is what would stop nginx from loading at all (OpenSSL, at the security level 2 that
Debian and the official image have), so that one bad Secret costs nobody else anything.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from consul_nginx.model.certificates import Certificate
from consul_nginx.model.secret_files import (
    TLS_KEYS,
    SecretContentError,
    SecretFile,
    SecretKind,
    content_of,
    sha256_of,
)

TYPE = "kubernetes.io/tls"
MAX_CHAIN = 16
MAX_HOSTNAMES = 250

_LEAST_RSA_BITS = 2048
_LEAST_EC_BITS = 224
_BROKEN = (hashes.MD5, hashes.SHA1)


# What cryptography raises for certificates that are odd.
UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class TlsSecretError(ValueError):
    """The Secret can't be used; the message says why, and quotes nothing that is secret."""


def parse_tls_secret(raw: Mapping[str, Any]) -> Certificate:
    """Look at a Secret as the API server returns it. Raises ``TlsSecretError``."""
    try:
        return _parsed(raw)
    except TlsSecretError:
        raise
    except UNREADABLE as error:
        # Versions, names and keys are read when they are asked for, and each in its own way.
        raise TlsSecretError(f"tls.crt holds a certificate that can't be read: {error}") from error


def _parsed(raw: Mapping[str, Any]) -> Certificate:
    if raw.get("type") != TYPE:
        raise TlsSecretError(f"its type is {str(raw.get('type'))[:80]}, it has to be {TYPE}")
    data = raw.get("data") or {}
    try:
        content = content_of(data=data, keys=TLS_KEYS)
        chain = _chain(content_of(data=data, keys=TLS_KEYS[:1]))
        key = _public_half(content_of(data=data, keys=TLS_KEYS[1:]))
    except SecretContentError as error:
        raise TlsSecretError(str(error)) from error
    leaf = chain[0]
    if key != _public(leaf):
        if any(key == _public(other) for other in chain[1:]):
            raise TlsSecretError(
                "tls.crt: the key's own certificate has to be the first one, before its issuers"
            )
        raise TlsSecretError("tls.key is not the key of the certificate in tls.crt")
    for certificate in chain:
        _refuse_weak(certificate)
    return Certificate(
        file=SecretFile(
            secret=raw["metadata"]["name"], kind=SecretKind.TLS, sha256=sha256_of(content)
        ),
        hostnames=_hostnames(leaf),
        key_type=_key_type(leaf),
        not_after=leaf.not_valid_after_utc.timestamp(),
        remarks=tuple(_remarks(chain)),
    )


def _chain(pem: bytes) -> list[x509.Certificate]:
    try:
        with warnings.catch_warnings():
            # Odd serial numbers and the like are the issuer's business.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TlsSecretError("tls.crt holds no certificate in PEM that can be read") from error
    if len(chain) > MAX_CHAIN:
        raise TlsSecretError(f"tls.crt holds {len(chain)} certificates; at most {MAX_CHAIN} may be")
    return chain


def _public_half(pem: bytes) -> bytes:
    """Of a private key; the rest of it is let go."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise TlsSecretError("tls.key is encrypted; nginx needs it without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsSecretError("tls.key holds no private key in PEM that can be read") from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsSecretError(f"tls.crt: a key of a kind that is not known: {error}") from error
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _refuse_weak(certificate: x509.Certificate) -> None:
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits) if bits < _LEAST_RSA_BITS:
            raise TlsSecretError(
                f"tls.crt: an RSA key of {bits} bits; at least {_LEAST_RSA_BITS} are needed"
            )
        case ec.EllipticCurvePublicKey(key_size=bits) if bits < _LEAST_EC_BITS:
            raise TlsSecretError(
                f"tls.crt: an EC key of {bits} bits; at least {_LEAST_EC_BITS} are needed"
            )
        case dsa.DSAPublicKey():
            raise TlsSecretError("tls.crt: a DSA key; RSA, ECDSA and Ed25519 are of use")
        case (
            rsa.RSAPublicKey()
            | ec.EllipticCurvePublicKey()
            | ed25519.Ed25519PublicKey()
            | ed448.Ed448PublicKey()
        ):
            pass
        case _:
            raise TlsSecretError("tls.crt: RSA, ECDSA and Ed25519 keys are of use, not this kind")
    is_root = certificate.subject == certificate.issuer
    if not is_root and isinstance(certificate.signature_hash_algorithm, _BROKEN):
        name = certificate.signature_hash_algorithm.name
        raise TlsSecretError(f"tls.crt: signed with {name}, which clients and nginx refuse")


def _key_type(leaf: x509.Certificate) -> str:
    """One that was not refused; nginx shows one certificate of each type for a name."""
    match leaf.public_key():
        case rsa.RSAPublicKey():
            return "RSA"
        case ec.EllipticCurvePublicKey():
            return "ECDSA"
        case _:
            return "EdDSA"


def _hostnames(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    names = extension.value.get_values_for_type(x509.DNSName)
    return tuple(sorted({name.lower() for name in names}))[:MAX_HOSTNAMES]


def _remarks(chain: list[x509.Certificate]) -> list[str]:
    remarks = []
    if not _hostnames(chain[0]):
        remarks.append("it names no host (subjectAltName), and clients will refuse it")
    for one, following in itertools.pairwise(chain):
        if one.issuer != following.subject:
            remarks.append("the certificates in tls.crt are not each issued by the next one")
            break
    return remarks
