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
class TemplateRule:
    """Namespaces, as patterns, whose LoadBalancers may have templates of their own.

    ``kv_prefixes``: what the keys that those read from Consul's KV store begin with.
    """

    namespaces: tuple[str, ...]
    kv_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """``rules`` None: everybody may map everything.

    By default no Consul address may be named, and nobody may have a template.
    """

    consul_addresses: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] | None = None
    templates: tuple[TemplateRule, ...] = ()

    def template_rules(self, namespace: str) -> tuple[TemplateRule, ...]:
        """What a namespace's templates may; nothing: it may have none."""
        return tuple(rule for rule in self.templates if matches(namespace, rule.namespaces))


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is ``text``; ``*`` stands for any text, dots included."""
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.ASCII)
        for pattern in patterns
    )
