"""Processes of pods, as the machine that carries the nodes sees them."""

from __future__ import annotations

import os
from typing import Any


def process_of(pod: dict[str, Any], module: str) -> int:
    """Process of a pod that runs a Python module."""
    uid = pod["metadata"]["uid"]
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cgroup") as group, open(f"/proc/{name}/cmdline") as line:
                words, cgroup = line.read().split("\0"), group.read().replace("_", "-")
        except OSError:
            continue
        if uid in cgroup and module in words:
            return int(name)
    raise AssertionError(f"no process {module} of {pod['metadata']['name']}")


def memory_kb(process: int) -> dict[str, int]:
    """Resident now, and at most so far."""
    with open(f"/proc/{process}/status") as status:
        figures = dict(line.split(":", 1) for line in status)
    return {"now": int(figures["VmRSS"].split()[0]), "peak": int(figures["VmHWM"].split()[0])}
