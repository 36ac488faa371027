"""Durations as Go writes them: ``10s``, ``1m30s``, ``1.5h``."""

from __future__ import annotations

import re
from decimal import Decimal

from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.warnings import invalid

MAX_LENGTH = 64

_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(f"(?:{_PART.pattern})+", re.ASCII)
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_GO_MAX = 2**63 - 1


def duration(key: Key, *, at_least: str = "") -> str:
    """A key's value, or ``at_least`` when that is longer; raises ``Refused``."""
    found = nanoseconds(key.value)
    if not found:
        raise invalid(
            key.written, key.value, "not a duration above zero; write one such as 10s or 1m30s"
        )
    return at_least if at_least and found < (nanoseconds(at_least) or 0) else key.value


def nanoseconds(text: str) -> int | None:
    """How long it is; None when Go could not read it or hold it."""
    if len(text) > MAX_LENGTH or not _WHOLE.fullmatch(text):
        return None
    total = sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in _PART.findall(text))
    return total if total <= _GO_MAX else None
