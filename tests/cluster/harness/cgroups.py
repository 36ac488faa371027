"""Control groups: they say which processes are ours, whatever became of their parents.

Version 1 (one tree per controller) and version 2 (one tree) both work. Below
the instance's group, `daemons/NAME` holds what the harness started and their
children (container shims included), `NODE` holds that node's pods.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """Return the roots of all cgroup trees."""
    if _is_v2():
        return [_ROOT]
    return sorted({p.resolve() for p in _ROOT.iterdir() if (p / "cgroup.procs").exists()})


def daemon_group(group: str, name: str) -> Path:
    """Return (made when needed) the group in which a daemon is started."""
    tree = _ROOT if _is_v2() else _ROOT / "pids"
    path = tree / group / "daemons" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def create_node(group: str, node: str) -> None:
    """Make a node's group in every tree: the kubelet wants to find it there."""
    for tree in hierarchies():
        if _is_v2():
            _enable_controllers(tree, tree / group)
        path = tree / group / node
        path.mkdir(parents=True, exist_ok=True)
        if tree.name == "cpuset" or (tree / "cpuset.cpus").exists():
            for folder in (tree / group, path):
                for file in ("cpuset.cpus", "cpuset.mems"):
                    if not (folder / file).read_text().strip() and (tree / file).exists():
                        (folder / file).write_text((tree / file).read_text())


def _enable_controllers(root: Path, group: Path) -> None:
    group.mkdir(parents=True, exist_ok=True)
    names = (root / "cgroup.controllers").read_text().split()
    for folder in (root, group):
        for name in names:
            with contextlib.suppress(OSError):  # some controllers can't be had; cgroups go on
                (folder / "cgroup.subtree_control").write_text(f"+{name}")


def processes(group: str) -> set[int]:
    """Return every process below a group, in any tree."""
    found: set[int] = set()
    for tree in hierarchies():
        for folder, _, _ in os.walk(tree / group):  # groups vanish meanwhile: walk doesn't mind
            with contextlib.suppress(OSError):
                words = (Path(folder) / "cgroup.procs").read_text().split()
                found.update(int(word) for word in words if word != "0")
    return found


def kill(group: str, *, seconds: float = 30.0) -> set[int]:
    """Kill everything below a group until it is empty; return what would not die."""
    deadline = time.monotonic() + seconds
    while left := processes(group):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
    return set()


def remove(group: str) -> list[Path]:
    """Remove a group and all below it; return what could not be removed."""
    left = []
    for tree in hierarchies():
        base = tree / group
        if not base.exists():
            continue
        for folder, _, _ in os.walk(base, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if base.exists():
            left.append(base)
    return left
