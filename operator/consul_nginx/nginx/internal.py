"""Locations that only nginx itself goes to. Pure.

Their names are hashes of what is in them: routes that need the same share one. No client can ask
for them, nor a mapping take them: they do not begin with a slash, as all paths do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive

# Requests beside a request are asked nothing of this. What a backend sends here by X-Accel-Redirect
# is: else it would go past all that the location of a route asks.
_NOBODY_ELSE = directive("deny", tokens.word("all"))
# How much a client may send is looked at where its request comes in, and here once more.
_ANY_SIZE = directive("client_max_body_size", tokens.size("0"))


@dataclass(frozen=True, kw_only=True)
class InternalLocation:
    """``name`` is what ``auth_request`` and ``mirror`` are given."""

    name: Token
    directives: tuple[Token, ...]


def internal_location(kind: str, content: Iterable[Token]) -> InternalLocation:
    """A location with that content; ``kind`` begins its name."""
    directives = (directive("internal"), _NOBODY_ELSE, _ANY_SIZE, *content)
    return InternalLocation(name=hashed(kind, directives), directives=directives)


def hashed(kind: str, content: Iterable[Token]) -> Token:
    """A name for what has that content."""
    digest = hashlib.sha256("\n".join(map(str, content)).encode()).hexdigest()[:16]
    return tokens.identifier(f"{kind}_{digest}")
