"""What the machine must have before anything starts: one line for each thing that is missing."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from cluster.harness.report import HarnessError
from cluster.harness.settings import Settings

_MEMORY_GIB = 6
_DISK_GIB = 15
# Of the cluster's own addresses; someone who listens on all addresses is in the way.
_PORTS = (2379, 2380, 6443, 10257, 10259)
_PROBE_ADDRESS = "127.77.255.1"
_HIDDEN_ON_NODES = ("/run", "/var/lib", "/var/log")


def check(settings: Settings) -> None:
    """Raise an error that lists everything that is missing."""
    problems = [*_system(), *_memory(), *_disk(settings), *_ports(), *_folders(settings)]
    if problems:
        text = "\n".join(f"  - {problem}" for problem in problems)
        raise HarnessError(f"this machine can't run the cluster:\n{text}")


def _system() -> list[str]:
    problems = []
    if os.geteuid() != 0:
        problems.append("not root: run it as root")
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        problems.append("not Debian: apt-get is needed")
    if os.uname().machine != "x86_64":
        problems.append(f"machine is {os.uname().machine}: x86_64 is needed")
    if not Path("/sys/fs/cgroup").is_dir() or not os.access("/sys/fs/cgroup", os.W_OK):
        problems.append("/sys/fs/cgroup is not writable: cgroups are needed")
    return problems


def _memory() -> list[str]:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    missing = gib < _MEMORY_GIB - 0.5  # firmware and kernel keep some for themselves
    return [f"{gib:.1f} GiB of memory: {_MEMORY_GIB} are needed"] if missing else []


def _disk(settings: Settings) -> list[str]:
    problems = []
    for folder in {settings.cluster_dir, settings.cache}:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        gib = shutil.disk_usage(existing).free / 2**30
        if gib < _DISK_GIB:
            problems.append(f"{gib:.1f} GiB free for {folder}: {_DISK_GIB} are needed")
    return problems


def _ports() -> list[str]:
    problems = []
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_PROBE_ADDRESS, port))
            except OSError:
                problems.append(f"port {port}: somebody listens there on all addresses")
    return problems


def _folders(settings: Settings) -> list[str]:
    return [
        f"{name}={folder}: nodes have their own {hidden}, choose another place"
        for name, folder in (("CLUSTER_DIR", settings.cluster_dir), ("cache", settings.cache))
        for hidden in _HIDDEN_ON_NODES
        if folder.is_relative_to(hidden)
    ]
