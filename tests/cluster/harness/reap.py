"""Take an instance away: its processes, namespaces, mounts, links, cgroups and state.

All that an instance runs is in cgroups named by its number, and all that it
mounts is in its processes' own mount namespaces. So it doesn't matter whether
it ends in order, half-way through, or long after everything was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from cluster.harness import cgroups, instances, network, processes
from cluster.harness.commands import wait_until
from cluster.harness.instances import Instance
from cluster.harness.locks import BusyError, held
from cluster.harness.report import HarnessError, line
from cluster.harness.settings import Settings

_STATE = ("etcd", "nodes", "volumes", "pki", "kubeconfig", "env")


def dead_instances(settings: Settings) -> None:
    """Clean up what other folders' clusters left: those that are gone or wholly dead."""
    for instance in instances.known():
        if instance.cluster_dir == settings.cluster_dir:
            continue
        with contextlib.suppress(BusyError), held(instance.lock, wait=False):
            alive = any(record.alive for record in processes.all_recorded(instance))
            if alive and instance.cluster_dir.is_dir():
                continue
            line("dead cluster", f"cleaning up what {instance.cluster_dir} left")
            problems = take_away(instance)
            if problems:
                raise HarnessError("can't clean up:\n" + "\n".join(f"  {p}" for p in problems))
            instances.forget(instance)


def stop_in_order(instance: Instance) -> None:
    """End pods first, then kubelets, proxies, container runtimes, and the control plane."""
    records = {record.name: record for record in processes.all_recorded(instance)}
    # The kubelets first stop working, or they would start the pods again.
    for name, record in records.items():
        if name.endswith("-kubelet") and record.alive:
            os.kill(record.pid, signal.SIGSTOP)
    for name in records:
        if name.startswith("node-") and name.count("-") == 1:
            cgroups.kill(f"{instance.cgroup}/{name}")
    for name, record in records.items():
        if name.endswith("-kubelet") and record.alive:
            os.kill(record.pid, signal.SIGKILL)
    order = (
        "-kubelet",
        "-kube-proxy",
        "-containerd",
        "kube-scheduler",
        "kube-controller-manager",
        "kube-apiserver",
        "etcd",
    )
    for ending in order:
        for name in [each for each in records if each.endswith(ending)]:
            with contextlib.suppress(KeyError):
                processes.stop(instance, records.pop(name).name, seconds=3.0)


def take_away(instance: Instance) -> list[str]:
    """Remove everything of an instance from the machine; return what is left."""
    immortal = cgroups.kill(instance.cgroup)
    network.remove(instance)
    shutil.rmtree(instance.registry / "processes", ignore_errors=True)
    problems = [f"process {pid}: {_command_of(pid)}" for pid in sorted(immortal)]
    with contextlib.suppress(HarnessError):  # a cgroup is busy for a moment after its last process
        wait_until(lambda: not cgroups.remove(instance.cgroup), what="cgroups", seconds=5)
    problems += [f"cgroup {path}" for path in cgroups.remove(instance.cgroup)]
    problems += [f"interface {name}" for name in network.leftovers(instance)]
    problems += [f"mount {path}" for path in mounts_below(instance.cluster_dir)]
    if not problems:
        forget_state(instance.cluster_dir)
    return problems


def forget_state(cluster_dir: Path) -> None:
    """Remove the cluster's data; programs and logs stay."""
    if mounts_below(cluster_dir):
        raise HarnessError(f"something is still mounted below {cluster_dir}")
    for name in _STATE:
        path = cluster_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def mounts_below(folder: Path) -> list[str]:
    """Return this machine's mounts below a folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [text.split()[4].replace("\\040", " ") for text in lines]
    return [point for point in points if Path(point).is_relative_to(folder / "nodes")]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "?"
