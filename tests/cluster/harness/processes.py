"""Daemons: start them so that they outlive us, and know them again without doubt.

A process id alone proves nothing, ids are reused. A record holds the id, the
start time that the kernel counts for it, and the boot; only all three together
name a process that the harness started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness import cgroups
from cluster.harness.instances import Instance, boot_id

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Joins the cgroup before the program begins: no child can ever be outside.
_JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Record:
    """A process that the harness started."""

    name: str
    pid: int
    start_time: int
    boot: str
    log: str
    version: str = ""

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.boot == boot_id() and start_time_of(self.pid) == self.start_time

    @property
    def since(self) -> float:
        """For how many seconds it has been running."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - self.start_time / os.sysconf("SC_CLK_TCK")


def start_time_of(pid: int, *, proc: Path = Path("/proc")) -> int | None:
    """Return a live process's start time in clock ticks, None for dead ones and zombies."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The program's name is in parentheses and may hold anything, spaces included.
    fields = text.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZX" else int(started)


def start(
    argv: Sequence[str | Path],
    *,
    name: str,
    instance: Instance,
    logs: Path,
    version: str = "",
) -> Record:
    """Start a daemon in its own session and cgroup, with a log, and record it."""
    group = cgroups.daemon_group(instance.cgroup, name)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    words = [str(word) for word in argv]
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["sh", "-c", _JOIN, str(group), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={"PATH": _PATH, "HOME": "/nonexistent"},
        )
    started = start_time_of(process.pid) or 0
    record = Record(
        name=name,
        pid=process.pid,
        start_time=started,
        boot=boot_id(),
        log=str(log),
        version=version,
    )
    file = _file(instance, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(asdict(record)))
    unfinished.replace(file)
    return record


def recorded(instance: Instance, name: str) -> Record | None:
    """Return the record of a daemon, dead or alive."""
    try:
        return Record(**json.loads(_file(instance, name).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def running(instance: Instance, name: str) -> Record | None:
    """Return the record of a daemon that runs."""
    record = recorded(instance, name)
    return record if record and record.alive else None


def all_recorded(instance: Instance) -> list[Record]:
    """Return the records of all daemons of an instance."""
    names = sorted(file.stem for file in (instance.registry / "processes").glob("*.json"))
    return [record for name in names if (record := recorded(instance, name))]


def stop(instance: Instance, name: str, *, seconds: float = 8.0) -> None:
    """Ask a daemon to end, then make it end; its children in the cgroup too."""
    record = running(instance, name)
    if record:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while record.alive and time.monotonic() < deadline:
            time.sleep(0.05)
    cgroups.kill(f"{instance.cgroup}/daemons/{name}")
    _file(instance, name).unlink(missing_ok=True)


def _file(instance: Instance, name: str) -> Path:
    return instance.registry / "processes" / f"{name}.json"
