"""The operator, installed by the real Helm as a user would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from cluster.harness.commands import run
from cluster.harness.project_images import inputs_hash
from cluster.harness.settings import REPOSITORY
from cluster.support.shop import fetch
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    import subprocess

    from cluster.harness.cluster import Cluster

CHART = REPOSITORY / "charts" / "consul-nginx-operator"
CRDS = REPOSITORY / "crds"
NAMESPACE = "consul-nginx"
NAME = "consul-nginx-operator"
CLUSTER_NAME = "test-cluster"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One Helm release in its own namespace, under Pod Security ``restricted``."""

    cluster: Cluster
    name: str = NAME
    namespace: str = NAMESPACE

    def install(self, **values: str) -> None:
        """Apply the CRDs, then install or upgrade, and wait until the operator is ready."""
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRDS}")
        self.cluster.kubectl.apply([_namespace(self.namespace)])
        # The image's tag stays the same while one develops; this makes pods of new images.
        settings = {
            "podAnnotations.images": inputs_hash(REPOSITORY),
            "registration.mode": "agent",
            # With a list of namespaces the operator can't make a name by itself.
            "registration.clusterName": CLUSTER_NAME,
            **values,
        }
        self.helm(
            "upgrade",
            "--install",
            self.name,
            str(CHART),
            "--wait",
            "--timeout=120s",
            *(f"--set-string={key}={value}" for key, value in settings.items()),
        )

    def uninstall(self) -> None:
        """Uninstall, and wait until the operator is gone."""
        self.helm("uninstall", self.name, "--wait", "--timeout=60s")

    def helm(self, *words: str) -> str:
        """What Helm, in the release's namespace, says on standard output."""
        return self.run_helm(*words).stdout

    def run_helm(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Helm in the release's namespace."""
        settings = self.cluster.settings
        command = [
            settings.bin / "helm",
            f"--kubeconfig={settings.kubeconfig}",
            f"--namespace={self.namespace}",
            *words,
        ]
        return run(command, timeout=180.0)

    def render(self, *words: str, name: str = NAME) -> list[dict[str, Any]]:
        """Objects that the chart would make, as a release of that name."""
        text = self.helm("template", name, str(CHART), "--kube-version=1.30", *words)
        return [item for item in yaml.safe_load_all(text) if item]

    def operator_pods(self) -> list[dict[str, Any]]:
        """Operator pods that are not on their way out."""
        labels = f"app.kubernetes.io/name={NAME}"
        pods = self.cluster.read.all("pod", namespace=self.namespace, labels=labels)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def holder(self) -> str:
        """Name of the pod that holds the Lease; empty when nobody does."""
        which = f"metadata.name={self.name}"
        leases = self.cluster.read.all("lease", namespace=self.namespace, fields=which)
        return next((item["spec"].get("holderIdentity") or "" for item in leases), "")

    def operator_pod(self) -> dict[str, Any]:
        """The operator pod that leads."""

        def leading() -> dict[str, Any] | None:
            holder = self.holder()
            pods = self.operator_pods()
            return next((pod for pod in pods if pod["metadata"]["name"] == holder), None)

        return wait_for(leading, what="an operator pod leads", seconds=60)

    def wait_for_another_operator(self, old: str) -> None:
        """Wait until an operator pod other than ``old`` is ready and has reconciled something."""

        def reconciled() -> bool:
            try:
                pod = self.operator_pod()
                metrics = fetch(f"http://{pod['status']['podIP']}:8080/metrics")
            except (ValueError, KeyError, OSError):
                return False
            return pod["metadata"]["name"] != old and _RECONCILED in metrics

        wait_for(reconciled, what="another operator has reconciled", seconds=90)


_RECONCILED = 'consul_nginx_reconciles_total{flow="apply",outcome="success"}'


def _namespace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
