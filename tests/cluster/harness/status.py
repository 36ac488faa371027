"""Say what runs: every component with version, state and log."""

from __future__ import annotations

from cluster.harness import control_plane, instances, processes
from cluster.harness.cluster import Cluster
from cluster.harness.report import heading, line, table
from cluster.harness.settings import Settings

_WORKLOADS = (
    ("coredns", "kube-system", "deployment/coredns", "{.status.readyReplicas}/{.spec.replicas}"),
    (
        "consul servers",
        "consul",
        "statefulset/consul-server",
        "{.status.readyReplicas}/{.spec.replicas}",
    ),
    (
        "consul clients",
        "consul",
        "daemonset/consul-client",
        "{.status.numberReady}/{.status.desiredNumberScheduled}",
    ),
)


def show(settings: Settings) -> bool:
    """Print the table; return whether everything that should run does."""
    instance = instances.find(settings.cluster_dir)
    if instance is None:
        line("cluster", f"none in {settings.cluster_dir}; `make cluster` brings one up")
        return False
    rows: list[tuple[str, ...]] = [("component", "version", "state", "log")]
    healthy = True
    for record in processes.all_recorded(instance):
        state = f"up {_duration(record.since)}" if record.alive else "dead"
        healthy = healthy and record.alive
        rows.append((record.name, record.version or "-", state, record.log))
    if control_plane.healthy(settings, instance):
        workloads, ready = _workloads(Cluster(settings=settings, instance=instance))
        rows += workloads
        healthy = healthy and ready
    else:
        healthy = False
    heading(f"Cluster in {settings.cluster_dir}, instance {instance.number}")
    table(rows)
    return healthy


def next_steps(settings: Settings) -> None:
    """Print what to do with a cluster that is up."""
    heading("Next")
    line("source", str(settings.cluster_dir / "env"))
    line("then", "kubectl get nodes;  consul members;  helm list")


def _workloads(cluster: Cluster) -> tuple[list[tuple[str, ...]], bool]:
    rows: list[tuple[str, ...]] = []
    healthy = True
    for name, namespace, workload, path in _WORKLOADS:
        image = "{.spec.template.spec.containers[0].image}"
        said = cluster.kubectl(
            "get", workload, "-n", namespace, f"--output=jsonpath={path} {image}", check=False
        )
        counts, _, reference = said.partition(" ")
        ready, _, wanted = counts.partition("/")
        healthy = healthy and bool(ready) and ready == wanted
        state = f"{ready or 0}/{wanted or '?'} ready"
        hint = f"kubectl logs -n {namespace} {workload}"
        rows.append((name, reference.rpartition(":")[2] or "-", state, hint))
    return rows, healthy


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
