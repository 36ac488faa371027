"""What the harness says: short aligned lines, and errors that name the log to read."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME_WIDTH = 26
_HEARTBEAT_SECONDS = 20.0


class HarnessError(Exception):
    """An expected failure: its text is all that a person needs to see."""


def line(name: str, text: str = "") -> None:
    """Print one aligned line of progress."""
    print(f"  {name:<{_NAME_WIDTH}} {text}".rstrip(), flush=True)


def heading(text: str) -> None:
    """Print the start of a group of lines."""
    print(text, flush=True)


@contextmanager
def working(name: str, text: str) -> Iterator[None]:
    """Say that something long has begun, that it goes on, and how long it took."""
    begun = time.monotonic()
    done = threading.Event()
    line(name, f"{text} …")

    def heartbeat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            line(name, f"{text} … {time.monotonic() - begun:.0f} s")

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    line(name, f"done in {time.monotonic() - begun:.0f} s")


def last_lines(log: Path, *, count: int = 12) -> str:
    """Return the end of a log, indented, to put below an error."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {text[:300]}" for text in lines) or "    (log is empty)"


def failed_with_log(text: str, log: Path) -> HarnessError:
    """Make an error that names the log file and shows its last lines."""
    return HarnessError(f"{text}\n  log: {log}\n{last_lines(log)}")


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in aligned columns; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  " + "  ".join(cells).rstrip(), file=sys.stdout, flush=True)
