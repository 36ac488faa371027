"""A node: a machine of its own with containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.harness import cgroups, machines, network, processes
from cluster.harness.binaries import BY_NAME
from cluster.harness.commands import run, wait_until
from cluster.harness.control_plane import DNS_DOMAIN, api_url
from cluster.harness.pinned_images import PAUSE
from cluster.harness.report import line

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.harness.instances import Instance
    from cluster.harness.kubectl import Kubectl
    from cluster.harness.pki import Authority
    from cluster.harness.settings import Settings

GATEWAY = "gateway"

_CONTAINERD = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/lib/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


@dataclass(frozen=True, kw_only=True)
class Node:
    """The names and addresses of node 1, 2, …"""

    instance: Instance
    index: int

    @property
    def name(self) -> str:
        """The Kubernetes node's name, also its holder process's."""
        return f"node-{self.index}"

    @property
    def ip(self) -> str:
        """The node's address."""
        return self.instance.node_ip(self.index)

    @property
    def veth(self) -> str:
        """The machine's end of the node's cable."""
        return network.veth_name(self.instance, self.suffix)

    @property
    def suffix(self) -> str:
        """The end of the cable's name."""
        return f"n{self.index}"

    @property
    def pods_cgroup(self) -> str:
        """The cgroup of the node's pods."""
        return f"{self.instance.cgroup}/{self.name}"

    def daemon(self, component: str) -> str:
        """Return the recorded name of one of the node's daemons."""
        return f"{self.name}-{component}"

    def entering(self) -> list[str]:
        """Return the words that run a command on the node."""
        holder = processes.running(self.instance, self.name)
        return machines.entering(holder.pid if holder else 0)


def start_machines(settings: Settings, instance: Instance, nodes: list[Node]) -> None:
    """Start the namespaces of gateway and nodes, all connected and routed."""
    gateway = machines.start(
        settings, instance, name=GATEWAY, suffix="gw", address=instance.gateway_ip
    )
    pids = {
        node.index: machines.start(
            settings, instance, name=node.name, suffix=node.suffix, address=node.ip
        )
        for node in nodes
    }
    for node in nodes:
        others = [pid for index, pid in pids.items() if index != node.index]
        network.route_pods(instance, index=node.index, pids=[gateway, *others])
    network.route_services(instance)


def start_containerd(settings: Settings, node: Node) -> None:
    """Start a node's container runtime and wait until it answers."""
    component = node.daemon("containerd")
    if not processes.running(node.instance, component):
        folder = settings.node_dir(node.name) / "var-lib"
        (folder / "cni" / "net.d").mkdir(parents=True, exist_ok=True)
        (folder / "cni" / "net.d" / "10-bridge.conflist").write_text(_cni(node))
        config = folder / "containerd.toml"
        config.write_text(_CONTAINERD.format(pause=PAUSE.name))
        processes.start(
            [*node.entering(), "containerd", "--config", "/var/lib/containerd.toml"],
            name=component,
            instance=node.instance,
            logs=settings.logs,
            version=run(["containerd", "--version"]).stdout.split()[2],
        )
    wait_until(
        lambda: ctr(node, "version", check=False),
        what=f"containerd of {node.name}",
        seconds=60,
        log=settings.logs / f"{component}.log",
    )


def ctr(node: Node, *words: str | Path, check: bool = True) -> bool:
    """Run containerd's client on a node; return whether it worked."""
    command = [*node.entering(), "ctr", "--namespace", "k8s.io", *words]
    return run(command, check=check, timeout=300).returncode == 0


def register(kubectl: Kubectl, nodes: list[Node]) -> None:
    """Create the Node objects with their pod network; the kubelets find them there."""
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name},
            "spec": {"podCIDR": str(pods), "podCIDRs": [str(pods)]},
        }
        for node in nodes
        for pods in [node.instance.node_pods(node.index)]
    ]
    existing = set(kubectl("get", "nodes", "--output=name").split())
    for described in objects:
        if f"node/{described['metadata']['name']}" not in existing:
            kubectl("create", "--filename=-", stdin=json.dumps(described))


def start_kubelet(settings: Settings, node: Node, authority: Authority) -> None:
    """Start a node's kubelet."""
    component = node.daemon("kubelet")
    if processes.running(node.instance, component):
        return
    cgroups.create_node(node.instance.cgroup, node.name)
    folder = settings.node_dir(node.name) / "var-lib" / "kubelet"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text("")  # pods resolve alike, whatever this machine does
    certificate, key = authority.issue(
        f"kubelet-{node.name}", common_name=node.name, hosts=(node.ip, node.name)
    )
    kubeconfig = authority.kubeconfig(
        settings.pki / f"{component}.kubeconfig",
        server=api_url(node.instance),
        common_name=f"system:node:{node.name}",
        organization="system:nodes",
    )
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": "0.0.0.0",
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": str(authority.certificate_file)},
                },
                "authorization": {"mode": "Webhook"},
                "tlsCertFile": str(certificate),
                "tlsPrivateKeyFile": str(key),
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": f"/{node.pods_cgroup}",
                "failCgroupV1": False,
                "failSwapOn": False,
                "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
                "clusterDNS": [node.instance.dns_ip],
                "clusterDomain": DNS_DOMAIN,
                "resolvConf": "/var/lib/kubelet/resolv.conf",
                "featureGates": {"KubeletInUserNamespace": True},
                "localStorageCapacityIsolation": False,
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
                # Images can't be pulled again: never collect them.
                "imageGCHighThresholdPercent": 100,
                "oomScoreAdj": 0,
                # Image pulls don't exist here; starting pods one by one would only be slow.
                "serializeImagePulls": False,
                "registryPullQPS": 0,
                "eventRecordQPS": 0,
            },
            indent=2,
        )
    )
    processes.start(
        [
            *node.entering(),
            settings.bin / "kubelet",
            "--config=/var/lib/kubelet/config.json",
            f"--kubeconfig={kubeconfig}",
            "--root-dir=/var/lib/kubelet",
            f"--cert-dir={settings.pki}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.ip}",
        ],
        name=component,
        instance=node.instance,
        logs=settings.logs,
        version=BY_NAME["kubelet"].version,
    )


def start_proxy(
    settings: Settings, instance: Instance, authority: Authority, *, machine: str, node_name: str
) -> None:
    """Start kube-proxy in a machine: Service addresses work there, and for who routes through."""
    component = f"{machine}-kube-proxy"
    holder = processes.running(instance, machine)
    if holder is None or processes.running(instance, component):
        return
    kubeconfig = authority.kubeconfig(
        settings.pki / "kube-proxy.kubeconfig",
        server=api_url(instance),
        common_name="system:kube-proxy",
    )
    processes.start(
        [
            *machines.entering(holder.pid),
            settings.bin / "kube-proxy",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={node_name}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={instance.pod_network}",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
        ],
        name=component,
        instance=instance,
        logs=settings.logs,
        version=BY_NAME["kube-proxy"].version,
    )


def wait_ready(settings: Settings, kubectl: Kubectl, nodes: list[Node]) -> None:
    """Wait until every node says Ready."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    for node in nodes:
        query = ("get", "node", node.name, f"--output=jsonpath={path}")
        wait_until(
            lambda query=query: kubectl(*query, check=False) == "True",
            what=f"{node.name} Ready",
            seconds=120,
            log=settings.logs / f"{node.daemon('kubelet')}.log",
            interval=0.5,
        )
        line(node.name, f"Ready at {node.ip}, pods {node.instance.node_pods(node.index)}")


def _cni(node: Node) -> str:
    """Describe the pods' network; no masquerading, as everybody has routes to pods."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": str(node.instance.node_pods(node.index))}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    described = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}
    return json.dumps(described, indent=2)
