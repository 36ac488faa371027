"""A real Prometheus on this machine that finds its targets as prometheus-operator would have it."""

from __future__ import annotations

import json
import socket
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster.harness import processes
from cluster.harness.commands import wait_until
from cluster.harness.prometheus import programs
from cluster.support.shop import fetch
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster

NAMESPACE = "monitoring"
_ACCOUNT = "prometheus"
_INTERVAL = "1s"


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """Asked through its HTTP API."""

    url: str

    def targets(self) -> list[dict[str, Any]]:
        """Active targets: ``labels``, ``health``, ``lastError``."""
        found: list[dict[str, Any]] = self._ask("/api/v1/targets?state=active")["activeTargets"]
        return found

    def values(self, expression: str) -> list[float]:
        """Values of an expression now, in no order."""
        found = self._ask(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return [float(item["value"][1]) for item in found["result"]]

    def value(self, expression: str) -> float:
        """The one value of an expression now; an AssertionError when there are none or more."""
        values = self.values(expression)
        assert len(values) == 1, f"{expression}: {values}"
        return values[0]

    def wait_true(self, expression: str) -> None:
        """Wait until a comparison holds for at least one series."""
        wait_for(lambda: bool(self.values(expression)), what=expression)

    def _ask(self, path: str) -> Any:
        answer = json.loads(fetch(f"{self.url}{path}"))
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def prometheus(
    *, cluster: Cluster, monitors: list[dict[str, Any]], folder: Path
) -> Iterator[Prometheus]:
    """Run Prometheus while the context lasts; ``monitors`` are Service- and PodMonitors."""
    cluster.kubectl.apply(_account())
    (folder / "token").write_text(
        cluster.kubectl("create", "token", _ACCOUNT, "-n", NAMESPACE, "--duration=1h")
    )
    view = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    [server] = [item["cluster"]["server"] for item in view["clusters"]]
    access = {
        "api_server": server,
        "authorization": {"credentials_file": str(folder / "token")},
        "tls_config": {"ca_file": str(cluster.authority.certificate_file)},
    }
    config = {
        "global": {"scrape_interval": _INTERVAL, "scrape_timeout": _INTERVAL},
        "scrape_configs": [scrape_config(monitor, access=access) for monitor in monitors],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{_free_port()}"
    record = processes.start(
        [
            programs(cluster.settings) / "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        name="prometheus",
        instance=cluster.instance,
        logs=cluster.settings.logs,
    )
    try:
        wait_until(
            lambda: _ready(address),
            what="Prometheus is ready",
            seconds=60,
            log=Path(record.log),
            give_up=lambda: None if record.alive else "it ended",
        )
        yield Prometheus(url=f"http://{address}")
    finally:
        processes.stop(cluster.instance, "prometheus")


def scrape_config(monitor: dict[str, Any], *, access: dict[str, Any]) -> dict[str, Any]:
    """What prometheus-operator makes of a ServiceMonitor or PodMonitor of one endpoint.

    Its rules (``pkg/prometheus/promcfg.go``): keep what has the selector's labels and the port's
    name, then set namespace, pod, container or service, job, and what the monitor relabels.
    """
    kind, metadata, spec = monitor["kind"], monitor["metadata"], monitor["spec"]
    of_pods = kind == "PodMonitor"
    [endpoint] = spec["podMetricsEndpoints" if of_pods else "endpoints"]
    chosen = spec.get("namespaceSelector", {})
    own = [] if chosen.get("any") else chosen.get("matchNames", [metadata["namespace"]])
    labels_of = "pod" if of_pods else "service"
    port = "pod_container_port_name" if of_pods else "endpointslice_port_name"
    keep = {
        **{
            f"{labels_of}_label_{_as_label(label)}": value
            for label, value in spec["selector"]["matchLabels"].items()
        },
        port: endpoint["port"],
    }
    copied = {
        "namespace": "namespace",
        "pod_name": "pod",
        "pod_container_name": "container",
        **({} if of_pods else {"service_name": "service"}),
    }
    return {
        "job_name": f"{kind}/{metadata['name']}",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint.get("path", "/metrics"),
        "kubernetes_sd_configs": [
            {
                "role": "pod" if of_pods else "endpointslice",
                "namespaces": {"names": own},
                **access,
            }
        ],
        "relabel_configs": [
            *(
                {"action": "keep", "source_labels": [f"__meta_kubernetes_{name}"], "regex": value}
                for name, value in keep.items()
            ),
            {
                "action": "drop",
                "source_labels": ["__meta_kubernetes_pod_phase"],
                "regex": "(Failed|Succeeded)",
            },
            *(
                {"source_labels": [f"__meta_kubernetes_{name}"], "target_label": label}
                for name, label in copied.items()
            ),
            *map(_relabeling, endpoint.get("relabelings", ())),
        ],
    }


def _relabeling(item: dict[str, Any]) -> dict[str, Any]:
    """Prometheus' own name for what prometheus-operator writes in camel case."""
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names[key]: value for key, value in item.items()}


def _as_label(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _account() -> list[dict[str, Any]]:
    """A ServiceAccount with what Prometheus needs to find its targets, and no more."""
    metadata = {"name": _ACCOUNT, "namespace": NAMESPACE}
    reading = {"verbs": ["get", "list", "watch"]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "test-prometheus"},
            "rules": [
                {"apiGroups": [""], "resources": ["pods", "services"], **reading},
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    **reading,
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "test-prometheus"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "test-prometheus",
            },
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _ready(address: str) -> bool:
    try:
        return "Ready" in fetch(f"http://{address}/-/ready")
    except OSError:
        return False
