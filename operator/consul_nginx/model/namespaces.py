"""Whose ServiceMappings are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NamespacesFrom(StrEnum):
    """Which namespaces' ServiceMappings are taken."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


@dataclass(frozen=True, kw_only=True)
class AllowedNamespaces:
    """``match_labels`` are those of a Selector: a namespace must have them all."""

    come_from: NamespacesFrom = NamespacesFrom.SAME
    match_labels: Mapping[str, str] = field(default_factory=dict)
