"""A "machine" for a node: network, mount and host name namespaces held by one process.

Inside, /run, /var/lib and /var/log are the node's own, so containerd, the
kubelet and CNI use their ordinary paths on every node. All mounts are made in
there: when the last process of a node is gone (killed with -9 or not), the
kernel takes its mounts, interfaces and rules away. Nothing is left to clean.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness import network, processes
from cluster.harness.commands import wait_until

if TYPE_CHECKING:
    from cluster.harness.instances import Instance
    from cluster.harness.settings import Settings

# $1 host name, $2 the node's folder, $3 the shared volumes
_INIT = """
set -e
hostname "$1"
mount --make-rshared /
mkdir -p "$2/var-lib/volumes" "$2/var-log"
mount --bind "$3" "$2/var-lib/volumes"
mount --rbind "$2/var-lib" /var/lib
mount --bind "$2/var-log" /var/log
mkdir -p /var/log/pods /var/log/containers /var/lib/kubelet /var/lib/cni
mount -t tmpfs -o mode=755,size=256m tmpfs /run
mkdir -p /run/netns /run/lock
ip link set lo up
exec sleep infinity
"""


def start(settings: Settings, instance: Instance, *, name: str, suffix: str, address: str) -> int:
    """Start (or find) a node's holder, connect it to the bridge, and return its process id."""
    holder = processes.running(instance, name)
    if holder is None:
        network.detach(instance, suffix=suffix)  # a dead holder's cable, going or gone
        folder = settings.node_dir(name)
        folder.mkdir(parents=True, exist_ok=True)
        settings.volumes.mkdir(parents=True, exist_ok=True)
        holder = processes.start(
            [
                "unshare",
                "--mount",
                "--net",
                "--uts",
                "--propagation",
                "private",
                "sh",
                "-c",
                _INIT,
                "init",
                name,
                folder,
                settings.volumes,
            ],
            name=name,
            instance=instance,
            logs=settings.logs,
        )
        wait_until(
            lambda: _ready(holder.pid),
            what=f"namespaces of {name}",
            seconds=20,
            log=Path(holder.log),
            interval=0.02,
            give_up=lambda: None if holder.alive else "its process ended",
        )
    network.attach(instance, pid=holder.pid, suffix=suffix, address=address)
    return holder.pid


def entering(pid: int) -> list[str]:
    """Return the words that run a command inside a holder's namespaces."""
    namespaces = (f"--{kind}=/proc/{pid}/ns/{short}" for kind, short in _NAMESPACES)
    return ["nsenter", *namespaces, "--"]


_NAMESPACES = (("mount", "mnt"), ("net", "net"), ("uts", "uts"))


def _ready(pid: int) -> bool:
    """The holder is ready once it has become `sleep`: all before that has then worked."""
    try:
        return (
            os.readlink(f"/proc/{pid}/exe").endswith("/sleep")
            or "sleep" in Path(f"/proc/{pid}/comm").read_text()
        )
    except OSError:
        return False
