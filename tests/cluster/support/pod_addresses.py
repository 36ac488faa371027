"""Which address the next pod of a node gets: host-local gives the one after that it gave last."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cluster.harness.commands import run
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.node import Node

_RESERVED = "/run/cni/pods"


def give_next(node: Node, address: str) -> None:
    """Wait until no pod of ``node`` has ``address`` any more, and have the next one get it.

    The node forgets where the old one was: else nobody there, the kubelet's probes included, finds
    the new one for up to a minute.
    """

    def is_free() -> bool:
        found = run([*node.entering(), "test", "-e", f"{_RESERVED}/{address}"], check=False)
        return found.returncode != 0

    wait_for(is_free, what=f"{address} is free on {node.name}")
    before = ipaddress.ip_address(address) - 1
    script = f"printf %s {before} > {_RESERVED}/last_reserved_ip.0"
    run([*node.entering(), "sh", "-c", script])
    run([*node.entering(), "ip", "neighbour", "flush", "to", address])
