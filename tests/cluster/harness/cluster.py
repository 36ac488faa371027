"""The cluster as a whole: bring it up, take it down, and find it again in tests."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from cluster.harness import (
    addons,
    binaries,
    control_plane,
    images,
    instances,
    network,
    node,
    packages,
    preflight,
    processes,
    proof,
    reap,
    rootfs,
)
from cluster.harness.instances import Instance
from cluster.harness.kubectl import Kubectl
from cluster.harness.locks import held
from cluster.harness.node import Node
from cluster.harness.pki import Authority
from cluster.harness.reading import Reader, reader
from cluster.harness.report import HarnessError, heading, line
from cluster.harness.settings import Settings

CONSUL_PORT = 8500


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that was brought up in a folder."""

    settings: Settings
    instance: Instance

    @classmethod
    def load(cls, settings: Settings | None = None) -> Cluster:
        """Return the running cluster of CLUSTER_DIR."""
        settings = settings or Settings.from_environment()
        instance = instances.find(settings.cluster_dir)
        if instance is None or not settings.kubeconfig.exists():
            raise HarnessError(f"no cluster in {settings.cluster_dir}: `make cluster` first")
        return cls(settings=settings, instance=instance)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as administrator."""
        program = self.settings.bin / "kubectl"
        return Kubectl(program=program, kubeconfig=self.settings.kubeconfig)

    @property
    def read(self) -> Reader:
        """Objects as the API server has them."""
        return reader(self.settings.kubeconfig)

    @property
    def nodes(self) -> list[Node]:
        """The nodes: as many as were asked for, and those started before."""
        recorded = [record.name for record in processes.all_recorded(self.instance)]
        numbers = {
            int(name.removeprefix("node-"))
            for name in recorded
            if name.startswith("node-") and name.count("-") == 1
        }
        numbers |= set(range(1, self.settings.nodes + 1))
        return [Node(instance=self.instance, index=number) for number in sorted(numbers)]

    @property
    def host_ip(self) -> str:
        """The machine's address that pods reach."""
        return self.instance.host_ip

    @property
    def consul_address(self) -> str:
        """The URL of Consul's servers."""
        service = self.read.one("service", "consul-server", namespace=addons.CONSUL_NAMESPACE)
        return f"http://{service['spec']['clusterIP']}:{CONSUL_PORT}"

    @property
    def authority(self) -> Authority:
        """The cluster's certificate authority."""
        return Authority(self.settings.pki)

    def start_nodes(self) -> None:
        """Start what doesn't run of the nodes; also how a failed node comes back."""
        settings, nodes = self.settings, self.nodes
        node.start_machines(settings, self.instance, nodes)
        for each in nodes:
            node.start_containerd(settings, each)
        images.import_all(settings, nodes, images.cluster_images(settings))
        node.register(self.kubectl, nodes)
        for each in nodes:
            node.start_kubelet(settings, each, self.authority)
            node.start_proxy(
                settings, self.instance, self.authority, machine=each.name, node_name=each.name
            )
        # The gateway is no Kubernetes node; kube-proxy wants the name of one.
        node.start_proxy(
            settings,
            self.instance,
            self.authority,
            machine=node.GATEWAY,
            node_name=nodes[0].name,
        )


def up(settings: Settings) -> None:
    """Bring the cluster up, whatever is there already: from nothing, half, dead or running."""
    preflight.check(settings)
    heading("Machine")
    packages.install(settings)
    reap.dead_instances(settings)
    instance = instances.find_or_allocate(settings.cluster_dir)
    with held(instance.lock):
        cluster = Cluster(settings=settings, instance=instance)
        heading("Programs and images")
        binaries.build_all(settings)
        rootfs.nginx_program(settings)
        heading(f"Control plane (instance {instance.number})")
        network.prepare_machine()
        if not control_plane.healthy(settings, instance):
            _begin_anew(cluster)
        network.create_bridge(instance)
        control_plane.start(settings, instance, cluster.authority)
        heading("Nodes")
        cluster.start_nodes()
        node.wait_ready(settings, cluster.kubectl, cluster.nodes)
        heading("Consul and DNS")
        addons.storage(settings, cluster.kubectl)
        address = addons.consul(cluster.kubectl)
        addons.dns(cluster.kubectl, instance, consul_address=address)
        _write_env(cluster)
        addons.wait(settings, cluster.kubectl)
        heading("Project")
        project = images.project(settings)
        images.import_all(settings, cluster.nodes, project)
        proof.run(cluster.kubectl, image=next(iter(project)))
    line("Consul UI", f"{cluster.consul_address}/ui/")


def down(settings: Settings) -> None:
    """Take the cluster down; raise an error that lists what could not be removed."""
    instance = instances.find(settings.cluster_dir)
    if instance is None:
        reap.forget_state(settings.cluster_dir)
        line("cluster", f"none in {settings.cluster_dir}")
        return
    with held(instance.lock):
        reap.stop_in_order(instance)
        problems = reap.take_away(instance)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise HarnessError(f"still there:\n{listed}")
    instances.forget(instance)
    line("cluster", "down: no process, mount, namespace, interface or cgroup left")


def import_project(settings: Settings) -> None:
    """Build the project's images; when a cluster runs, give them to its nodes."""
    project = images.project(settings)
    instance = instances.find(settings.cluster_dir)
    if instance and control_plane.healthy(settings, instance):
        with held(instance.lock):
            cluster = Cluster(settings=settings, instance=instance)
            images.import_all(settings, cluster.nodes, project)


def _begin_anew(cluster: Cluster) -> None:
    """Clean up a dead control plane and all around it; keep the old logs for a look."""
    problems = reap.take_away(cluster.instance)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise HarnessError(f"can't clean up the cluster that was here:\n{listed}")
    logs = cluster.settings.logs
    if any(logs.glob("kube-apiserver.log")):
        previous = logs.with_name("logs.previous")
        shutil.rmtree(previous, ignore_errors=True)
        logs.rename(previous)
    logs.mkdir(parents=True, exist_ok=True)


def _write_env(cluster: Cluster) -> None:
    settings = cluster.settings
    content = (
        "# Written by `make cluster`: source it.\n"
        f'export KUBECONFIG="{settings.kubeconfig}"\n'
        f'export CONSUL_HTTP_ADDR="{cluster.consul_address}"\n'
        f'export HOST_IP="{cluster.host_ip}"\n'
        f'case ":$PATH:" in *":{settings.bin}:"*) ;;\n'
        f'  *) export PATH="{settings.bin}:$PATH" ;;\n'
        "esac\n"
    )
    file = settings.cluster_dir / "env"
    unfinished = file.with_suffix(".part")
    unfinished.write_text(content)
    unfinished.replace(file)
