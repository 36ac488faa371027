"""nginx's processes as ``/proc`` shows them.

nginx writes its role over its own ``argv`` (``ngx_setproctitle.c``). Started through a dynamic
loader by hand, what the loader was called with may stand before it, hence the search in the bytes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

_WORKER = b"nginx: worker process"
_SHUTTING_DOWN = b"nginx: worker process is shutting down"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker of whatever generation."""

    pid: int
    shutting_down: bool


def worker_of_title(*, pid: int, title: bytes) -> Worker | None:
    """The worker that a command line tells of; None for the master, cache processes and zombies."""
    if _WORKER not in title:
        return None
    return Worker(pid=pid, shutting_down=_SHUTTING_DOWN in title)


def parent_of_stat(stat: bytes) -> int:
    """The fourth field of ``/proc/<pid>/stat``; the second may hold spaces and parentheses."""
    return int(stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[1])


def workers_of(parent: int) -> list[Worker]:
    """The living workers that are children of ``parent``."""
    workers = []
    for pid in _children(parent):
        with suppress(OSError):
            worker = worker_of_title(pid=pid, title=_read(f"/proc/{pid}/cmdline"))
            if worker:
                workers.append(worker)
    return workers


def _children(parent: int) -> list[int]:
    try:
        return [int(pid) for pid in _read(f"/proc/{parent}/task/{parent}/children").split()]
    except ProcessLookupError:
        return []
    except FileNotFoundError:  # the process is gone, or a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in _all_pids() if _parent(pid) == parent]


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _parent(pid: int) -> int | None:
    try:
        return parent_of_stat(_read(f"/proc/{pid}/stat"))
    except OSError:
        return None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
