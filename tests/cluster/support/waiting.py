"""Waiting on conditions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")


def wait_for(
    probe: Callable[[], Found | bool | None],
    *,
    what: str,
    seconds: float = 60.0,
    interval: float = 0.1,
) -> Found:
    """First truthy answer of ``probe``; an AssertionError that names ``what`` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last: {found!r}")
        time.sleep(interval)
