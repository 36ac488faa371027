"""Files that nginx needs of Secrets: the bundle says which, the agent makes them.

Their content is in no ConfigMap. A file is named by the SHA-256 of its content, so it never
changes: what is new in a Secret is another file, another bundle, an ordinary reload. Standard
library only: the agent imports it.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

# What names the files of Secrets is a file of the bundle of its own, which others include: a
# certificate is included by server blocks, users by locations.
CERTIFICATE_PREFIX = "certificate-"
USERS_PREFIX = "users-"
# In place of a certificate that isn't there: the handshake fails, in clear words, and for the
# hosts of this one certificate only.
NO_CERTIFICATE = "ssl_reject_handshake on;\n"
# In place of users that aren't there: nobody is let in, and no password is to blame.
NO_USERS = 'return 503 "the users of this path are not known\\n";\n'

TLS_KEYS = ("tls.crt", "tls.key")
USERS_KEY = "auth"

MAX_BYTES = 256 * 1024

_STAND_INS = {CERTIFICATE_PREFIX: NO_CERTIFICATE, USERS_PREFIX: NO_USERS}
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SecretKind(StrEnum):
    """What a file of a Secret is for."""

    TLS = "tls"
    USERS = "users"

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the Secret, in the order in which their values are in the file."""
        return TLS_KEYS if self is SecretKind.TLS else (USERS_KEY,)

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return ".pem" if self is SecretKind.TLS else ".htpasswd"


_FILE = re.compile(
    rf"\b[0-9a-f]{{64}}(?:{'|'.join(re.escape(kind.suffix) for kind in SecretKind)})\b", re.ASCII
)


class SecretContentError(ValueError):
    """The Secret has not what is asked of it; the message names the key."""


@dataclass(frozen=True, kw_only=True, order=True)
class SecretFile:
    """A file made of the values of a Secret's keys, one after the other; ``kind`` says which.

    ``secret`` is a name in the pod's own namespace. Raises ``ValueError`` for names that
    Kubernetes doesn't take: they become a part of a path of the API.
    """

    secret: str
    kind: SecretKind
    sha256: str

    def __post_init__(self) -> None:
        if not _SECRET.fullmatch(self.secret):
            raise ValueError(f"{self.secret[:60]!r} is not the name of a Secret")
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256[:80]!r} is not a SHA-256 in hex")

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{self.sha256}{self.kind.suffix}"


def named_in(text: str) -> frozenset[str]:
    """The name of every file of a Secret that a part of the configuration names."""
    return frozenset(_FILE.findall(text))


def stand_in(name: str) -> str | None:
    """What does its duty in place of a file of the bundle that names files of Secrets.

    None for a file that names none.
    """
    return next((text for prefix, text in _STAND_INS.items() if name.startswith(prefix)), None)


def content_of(*, data: Mapping[str, str], keys: Iterable[str]) -> bytes:
    """The file's content; ``data`` is a Secret's, in base64.

    Raises ``SecretContentError``, which never quotes a value.
    """
    content = b"".join(_value(data, key).strip() + b"\n" for key in keys)
    if len(content) > MAX_BYTES:
        raise SecretContentError(f"{len(content)} bytes; at most {MAX_BYTES} are read")
    return content


def sha256_of(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


def _value(data: Mapping[str, str], key: str) -> bytes:
    if not data.get(key):
        has = ", ".join(sorted(name for name, value in data.items() if value)) or "none"
        raise SecretContentError(f"it has no key {key}; it has: {has}")
    try:
        return b64decode(data[key], validate=True)
    except ValueError as error:
        raise SecretContentError(f"its key {key} is not base64") from error
