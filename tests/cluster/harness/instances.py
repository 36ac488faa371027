"""Instance numbers: which cluster folder has which addresses, names and cgroups.

Several clusters run side by side on one machine. Each folder gets the lowest
free number, kept in a small registry outside of any checkout, and everything
the cluster creates on the machine is named by that number. So the next run
finds what a dead cluster left, even when its folder is gone.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness.commands import run
from cluster.harness.locks import held
from cluster.harness.report import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTRY = Path("/run/consul-nginx-cluster")
_MAX_INSTANCES = 40


@dataclass(frozen=True, kw_only=True)
class Instance:
    """The names and addresses that follow from an instance's number."""

    number: int
    cluster_dir: Path

    @property
    def registry(self) -> Path:
        """What is known on this machine about the instance."""
        return REGISTRY / str(self.number)

    @property
    def lock(self) -> Path:
        """Held while the instance is being brought up or down."""
        return REGISTRY / f"{self.number}.lock"

    @property
    def cgroup(self) -> str:
        """The cgroup above everything that the instance runs."""
        return f"consul-nginx-{self.number}"

    @property
    def bridge(self) -> str:
        """The bridge in the machine's network that joins the nodes."""
        return f"cnbr{self.number}"

    @property
    def node_network(self) -> IPv4Network:
        """The network of machine, gateway and nodes."""
        return IPv4Network(f"172.30.{self.number}.0/24")

    @property
    def host_ip(self) -> str:
        """The machine's address on the bridge, which pods reach."""
        return str(self.node_network[1])

    @property
    def gateway_ip(self) -> str:
        """Where the machine sends what is meant for Service addresses."""
        return str(self.node_network[2])

    @property
    def pod_network(self) -> IPv4Network:
        """All pods' addresses."""
        return IPv4Network(f"10.{200 + self.number}.0.0/16")

    @property
    def service_network(self) -> IPv4Network:
        """All Services' addresses."""
        return IPv4Network(f"10.{100 + self.number}.0.0/16")

    @property
    def dns_ip(self) -> str:
        """The cluster DNS Service."""
        return str(self.service_network[10])

    @property
    def loopback(self) -> str:
        """A loopback address of its own, so that ports never collide."""
        return f"127.77.{self.number}.1"

    def node_ip(self, index: int) -> str:
        """Return the address of node 1, 2, …"""
        return str(self.node_network[10 + index])

    def node_pods(self, index: int) -> IPv4Network:
        """Return the pods' network on node 1, 2, …"""
        return IPv4Network(f"10.{200 + self.number}.{index}.0/24")


def free_number(taken: Iterable[int], *, routed: Iterable[IPv4Network] = ()) -> int:
    """Return the lowest number that nobody has and whose networks nobody uses."""
    used, foreign = set(taken), list(routed)
    for number in range(_MAX_INSTANCES):
        instance = Instance(number=number, cluster_dir=Path("/"))
        own = (instance.node_network, instance.pod_network, instance.service_network)
        if number not in used and not any(a.overlaps(b) for a in own for b in foreign):
            return number
    raise HarnessError(f"no instance number below {_MAX_INSTANCES} is free: see {REGISTRY}")


def known() -> list[Instance]:
    """Return all instances in the registry."""
    found = []
    for file in sorted(REGISTRY.glob("*/instance.json")):
        folder = Path(json.loads(file.read_text())["cluster_dir"])
        found.append(Instance(number=int(file.parent.name), cluster_dir=folder))
    return found


def find(cluster_dir: Path) -> Instance | None:
    """Return the instance of a folder, if it has one."""
    return next((each for each in known() if each.cluster_dir == cluster_dir), None)


def find_or_allocate(cluster_dir: Path) -> Instance:
    """Return the instance of a folder; a new folder gets a number."""
    with held(REGISTRY / "registry.lock"):
        instance = find(cluster_dir)
        if instance is None:
            number = free_number((each.number for each in known()), routed=_routed_networks())
            instance = Instance(number=number, cluster_dir=cluster_dir)
            instance.registry.mkdir(parents=True, exist_ok=True)
            unfinished = instance.registry / "instance.part"
            unfinished.write_text(json.dumps({"cluster_dir": str(cluster_dir)}))
            unfinished.replace(instance.registry / "instance.json")
        return instance


def forget(instance: Instance) -> None:
    """Give the number back."""
    with held(REGISTRY / "registry.lock"):
        shutil.rmtree(instance.registry, ignore_errors=True)


def boot_id() -> str:
    """Identify this boot of the machine: process ids mean nothing after it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _routed_networks() -> list[IPv4Network]:
    """Return the networks that this machine routes already, by whoever."""
    routes = json.loads(run(["ip", "-json", "-4", "route"]).stdout or "[]")
    words = (route["dst"] for route in routes if route["dst"] != "default")
    return [IPv4Network(word) for word in words if os.path.isabs(word) is False]
