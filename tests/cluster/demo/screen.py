"""How the demo shows what it sees: short lines, aligned."""

from __future__ import annotations

import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.harness.report import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.traffic import Traffic

WIDTH = 128


def kubectl(cluster: Cluster, *words: str) -> None:
    """Run kubectl and show the command with what it said; long lines are wrapped."""
    print(f"  $ kubectl {' '.join(words)}")
    show(cluster.kubectl(*words))


def show(text: str) -> None:
    """Show what a command said; long lines are wrapped."""
    for row in text.splitlines():
        for part in textwrap.wrap(
            row,
            WIDTH,
            subsequent_indent=" " * 8,
            drop_whitespace=False,
            break_on_hyphens=False,
        ):
            print(f"  {part.rstrip()}", flush=True)


def timed(name: str, text: str, action: Callable[[], object]) -> None:
    """Do it and say how long it took."""
    at = time.monotonic()
    action()
    line(name, f"{text}  ({time.monotonic() - at:.0f} s)")


@contextmanager
def after(name: str, *, more: str = "") -> Iterator[None]:
    """Say how long what is done in the context took."""
    at = time.monotonic()
    yield
    line(name, f"after {time.monotonic() - at:.1f} s{more}")


def failures(sent: Traffic) -> int:
    """Say how many requests failed, and the first ones in words."""
    line("requests", f"{sent.requests}, {len(sent.failures)} failed")
    for failure in sent.failures[:5]:
        line("", f"at {failure.at:.3f} s: {failure.reason}")
    return len(sent.failures)
