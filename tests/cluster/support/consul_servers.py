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


def kill_leader(cluster: Cluster) -> None:
    """Kill the leader's process; its pod starts another one."""
    address = str(agent_request(cluster.consul_address, "GET", "/v1/status/leader"))
    field = f"--field-selector=status.podIP={address.rpartition(':')[0]}"
    words = ("get", "pods", "-n", "consul", field, "-o", "json")
    [leader] = json.loads(cluster.kubectl(*words))["items"]
    os.kill(process_of(leader, "agent"), signal.SIGKILL)
