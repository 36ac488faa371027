"""A bridge in the machine's network that joins machine, gateway and nodes.

Each node has a network namespace with one veth into the bridge. The namespaces
belong to a holder process each (see machines.py), so they, their veths and the
routes over them vanish with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness.commands import run
from cluster.harness.report import line

if TYPE_CHECKING:
    from cluster.harness.instances import Instance

_HOST_SYSCTLS = {
    # Three kubelets and their container runtimes watch many files.
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 1048576,
}
_MODULES = ("overlay", "br_netfilter", "nf_tables", "nf_conntrack", "veth")


def prepare_machine() -> None:
    """Load kernel modules and raise limits; both are harmless when already so."""
    for module in _MODULES:  # built in, or absent from a container's view: both fine
        run(["modprobe", "--quiet", module], check=False)
    for key, wanted in _HOST_SYSCTLS.items():
        file = Path("/proc/sys") / key
        if file.exists() and int(file.read_text()) < wanted:
            file.write_text(f"{wanted}\n")


def create_bridge(instance: Instance) -> None:
    """Make the bridge with the machine's address."""
    if not exists(instance.bridge):
        run(["ip", "link", "add", instance.bridge, "type", "bridge"])
    run(["ip", "link", "set", instance.bridge, "up"])
    address = f"{instance.host_ip}/{instance.node_network.prefixlen}"
    run(["ip", "address", "replace", address, "dev", instance.bridge])
    line("bridge", f"{instance.bridge}, this machine is {instance.host_ip}")


def attach(instance: Instance, *, pid: int, suffix: str, address: str) -> None:
    """Connect a holder's network namespace to the bridge."""
    veth = veth_name(instance, suffix)
    if not exists(veth):
        peer = ["peer", "name", "eth0", "netns", str(pid)]
        run(["ip", "link", "add", veth, "type", "veth", *peer])
    run(["ip", "link", "set", veth, "master", instance.bridge, "up"])
    prefix = instance.node_network.prefixlen
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    run([*inside, "ip", "link", "set", "lo", "up"])
    run([*inside, "ip", "address", "replace", f"{address}/{prefix}", "dev", "eth0"])
    run([*inside, "ip", "link", "set", "eth0", "up"])
    run([*inside, "ip", "route", "replace", "default", "via", instance.host_ip])
    settings = (
        "net.ipv4.ip_forward=1",
        # A pod that reaches itself or its neighbour through a Service answers over the bridge.
        "net.bridge.bridge-nf-call-iptables=1",
    )
    for setting in settings:
        run([*inside, "sysctl", "-q", "-w", setting], check=False)


def detach(instance: Instance, *, suffix: str) -> None:
    """Remove a cable."""
    run(["ip", "link", "delete", veth_name(instance, suffix)], check=False)


def route_pods(instance: Instance, *, index: int, pids: list[int]) -> None:
    """Route a node's pods through its address: from this machine and the other namespaces."""
    route = [str(instance.node_pods(index)), "via", instance.node_ip(index)]
    run(["ip", "route", "replace", *route])
    for pid in pids:
        run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "route", "replace", *route])


def route_services(instance: Instance) -> None:
    """Send Service addresses through the gateway, where a kube-proxy turns them into pods'."""
    service_route = [str(instance.service_network), "via", instance.gateway_ip]
    run(["ip", "route", "replace", *service_route])


def veth_name(instance: Instance, suffix: str) -> str:
    """Return the machine's end of a veth; the kernel allows 15 characters."""
    return f"cnv{instance.number}{suffix}"


def set_link(name: str, *, up: bool) -> None:
    """Switch an interface on or off."""
    run(["ip", "link", "set", name, "up" if up else "down"])


def exists(interface: str) -> bool:
    """Whether the machine has an interface of this name."""
    return (Path("/sys/class/net") / interface).exists()


def leftovers(instance: Instance) -> list[str]:
    """Return this instance's interfaces that are still there."""
    names = [link["ifname"] for link in json.loads(run(["ip", "-json", "link"]).stdout)]
    prefix = veth_name(instance, "")
    own = (f"{prefix}n", f"{prefix}gw")
    return [name for name in names if name == instance.bridge or name.startswith(own)]


def remove(instance: Instance) -> None:
    """Remove the bridge and whatever veth is left; routes go with them."""
    for name in leftovers(instance):
        run(["ip", "link", "delete", name], check=False)
