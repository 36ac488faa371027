"""Certificate authorities by which backends are verified; they are public, and travel as text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

CA_KEY = "ca.crt"


class AuthorityKind(StrEnum):
    """Kind of object that holds them."""

    SECRET = "Secret"  # noqa: S105 - a kind
    CONFIG_MAP = "ConfigMap"


@dataclass(frozen=True, kw_only=True, order=True)
class Authority:
    """An object whose ``ca.crt`` has certificates of authorities."""

    kind: AuthorityKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class AuthorityFinding:
    """What the object was found to hold, in PEM; or ``problem`` says why not, and a way out."""

    pem: str | None = None
    problem: str = ""


def authorities_id(authorities: Iterable[Authority]) -> str:
    """Name of the file with these authorities: it stays when their certificates change."""
    identity = "\0".join(map(str, authorities))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
