"""Consul's servers: all of them away or cut off, or only their leader killed."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.harness.cluster import CONSUL_PORT
from cluster.harness.commands import run
from cluster.support.consul_api import agent_request
from cluster.support.machine import process_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.harness.node import Node

_SILENT = "SILENT"


def scale_servers(cluster: Cluster, count: int) -> None:
    """Have ``count`` servers, and wait until they are ready, or gone."""
    kubectl = cluster.kubectl
    kubectl("scale", "-n", "consul", "statefulset/consul-server", f"--replicas={count}")
    if count:
        kubectl("rollout", "status", "-n", "consul", "statefulset/consul-server", timeout=180)
    else:
        selector = ("-l", "statefulset.kubernetes.io/pod-name", "--timeout=120s")
        kubectl("wait", "-n", "consul", "pods", *selector, "--for=delete", timeout=150)


@contextmanager
def cut_off(cluster: Cluster) -> Iterator[None]:
    """Nobody in a pod reaches Consul while the context lasts; connections are reset at once.

    The servers themselves go on, which takes a minute less than to stop and start them.
    """
    rule = ["FORWARD", "-p", "tcp", "--dport", str(CONSUL_PORT), "-j", "REJECT", "--reject-with",
            "tcp-reset"]  # fmt: skip
    for node in cluster.nodes:
        run([*node.entering(), "iptables", "-I", *rule])
    try:
        yield
    finally:
        for node in cluster.nodes:
            run([*node.entering(), "iptables", "-D", *rule])


@contextmanager
def silent(cluster: Cluster) -> Iterator[None]:
    """The connections that pods have to Consul carry nothing while the context lasts.

    Nobody is told, as when the machine at the other end is off. New connections work.
    """
    for node in cluster.nodes:
        tables = [*node.entering(), "iptables"]
        run([*tables, "-N", _SILENT])
        for address, port in _connections(node):
            there = ("-s", address, "--sport", port, "--dport", str(CONSUL_PORT))
            back = ("-d", address, "--dport", port, "--sport", str(CONSUL_PORT))
            for direction in (there, back):
                run([*tables, "-A", _SILENT, "-p", "tcp", *direction, "-j", "DROP"])
        run([*tables, "-I", "FORWARD", "-j", _SILENT])
    try:
        yield
    finally:
        for node in cluster.nodes:
            for words in (["-D", "FORWARD", "-j", _SILENT], ["-F", _SILENT], ["-X", _SILENT]):
                run([*node.entering(), "iptables", *words])


def _connections(node: Node) -> list[tuple[str, str]]:
    """Addresses and ports from which somebody is connected to Consul through a node."""
    port = ("--orig-port-dst", str(CONSUL_PORT), "--state", "ESTABLISHED")
    listed = run([*node.entering(), "conntrack", "-L", "-p", "tcp", *port]).stdout
    # The connection as it was opened comes first in each line, then what answers look like.
    return [
        (line.partition(" src=")[2].split()[0], line.partition(" sport=")[2].split()[0])
        for line in listed.splitlines()
    ]


def kill_leader(cluster: Cluster) -> None:
    """Kill the leader's process; its pod starts another one."""
    address = str(agent_request(cluster.consul_address, "GET", "/v1/status/leader"))
    field = f"--field-selector=status.podIP={address.rpartition(':')[0]}"
    words = ("get", "pods", "-n", "consul", field, "-o", "json")
    [leader] = json.loads(cluster.kubectl(*words))["items"]
    os.kill(process_of(leader, "agent"), signal.SIGKILL)
