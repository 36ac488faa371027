"""Read the versions that go.mod files pin: they are written nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

from cluster.harness.report import HarnessError

_REQUIRED = re.compile(r"^\s*(?:require\s+)?(\S+) (v\S+)(?: // .*)?$")


def version_of(go_mod: str, module: str) -> str:
    """Return the version that a go.mod's text requires of a module."""
    for text in go_mod.splitlines():
        match = _REQUIRED.match(text)
        if match and match.group(1) == module:
            return match.group(2)
    raise HarnessError(f"go.mod does not require {module}")


def pinned(tools: Path, family: str, module: str) -> str:
    """Return the pinned version of a module in a family of tools."""
    return version_of((tools / family / "go.mod").read_text(), module)
