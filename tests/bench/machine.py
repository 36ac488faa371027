"""The machine: what it is, and how busy it was."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Busy:
    """Share of all cores' time, from 0 to 1; set when the watch has ended."""

    share: float = 0.0


@contextmanager
def watched() -> Iterator[Busy]:
    """How busy the machine is while the context lasts."""
    busy, before = Busy(), _times()
    yield busy
    used, idle = (now - then for now, then in zip(_times(), before, strict=True))
    busy.share = round(used / (used + idle), 2)


def describe() -> dict[str, Any]:
    """Cores, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpus": os.cpu_count(),
        "cpu": model[1] if model else platform.machine(),
        "memory_gib": round(memory / 2**30),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release(),
    }


def _times() -> tuple[int, int]:
    """Busy and idle time of all cores since boot, as the first line of /proc/stat has them."""
    user, nice, system, idle, iowait, *rest = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return user + nice + system + sum(rest[:3]), idle + iowait
