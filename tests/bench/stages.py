"""Where our time goes: what operator and agent log of every change, next to what clients saw. Pure.

Nothing is measured inside: the moments are those of log lines that are written anyway.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.figures import Sample

_WRITTEN = re.compile(r": revision (\d+), bundle [0-9a-f]+, written for nginx")
_LOADED = "nginx serves a new bundle"


@dataclass(frozen=True, kw_only=True)
class Stages:
    """When a change had come how far: seconds from just before it was sent to Consul."""

    consul: float
    operator: float
    config_map: float
    agent: float
    nginx: float


def stages(
    *, samples: Iterable[Sample], operator_log: str, agent_log: str, load_balancer: str
) -> list[Stages]:
    """Of every change whose revision is found in both logs."""
    written = sorted(_written(operator_log, load_balancer=load_balancer))
    begun = dict(_begun(agent_log))
    found = []
    for sample in samples:
        index = bisect(written, (sample.at,))
        if index == len(written) or (revision := written[index][1]) not in begun:
            continue
        found.append(
            Stages(
                consul=sample.written,
                # A revision is the wall clock in milliseconds at the time of the write.
                operator=revision / 1000 - sample.at,
                config_map=written[index][0] - sample.at,
                agent=begun[revision] - sample.at,
                nginx=sample.first_new,
            )
        )
    return found


def _written(log: str, *, load_balancer: str) -> Iterator[tuple[float, int]]:
    """When a ConfigMap was written, and its revision."""
    for entry in _entries(log):
        message = str(entry.get("message", ""))
        found = _WRITTEN.search(message)
        if found and message.startswith(f"{load_balancer}:"):
            yield _seconds(entry["time"]), int(found[1])


def _begun(log: str) -> Iterator[tuple[int, float]]:
    """Revisions, and when the agent handed each to nginx's supervisor."""
    for entry in _entries(log):
        if entry.get("event") == _LOADED:
            yield entry["revision"], _seconds(entry["time"]) - entry["seconds"]


def _entries(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
