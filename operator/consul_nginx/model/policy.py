"""What whoever runs the operator lets others do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What some namespaces may map; every text is a pattern in which ``*`` stands for any text."""

    namespaces: tuple[str, ...]
    hostnames: tuple[str, ...]
    services: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """``rules`` None: everybody may map everything. No Consul address may be named by default."""

    consul_addresses: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] | None = None


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is ``text``; ``*`` stands for any text, dots included."""
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.ASCII)
        for pattern in patterns
    )
