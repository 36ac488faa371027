"""What runs inside the cluster: a storage class with volumes, Consul, DNS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster.harness.commands import run
from cluster.harness.pinned_images import CONSUL, COREDNS
from cluster.harness.report import HarnessError, line
from cluster.harness.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from cluster.harness.instances import Instance
    from cluster.harness.kubectl import Kubectl

CONSUL_EXAMPLE = REPOSITORY / "examples" / "consul"
CONSUL_NAMESPACE = "consul"
_MANIFESTS = Path(__file__).with_name("manifests")
_VOLUMES = 3
_CONSUL_UID, _CONSUL_GID = 100, 1000


def storage(settings: Settings, kubectl: Kubectl) -> None:
    """Offer volumes that are folders of this machine: any node can use them, nothing is lost."""
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "folders",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    ]
    for number in range(_VOLUMES):
        folder = settings.volumes / f"volume-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, _CONSUL_UID, _CONSUL_GID)
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"volume-{number}"},
                "spec": {
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "folders",
                    "hostPath": {"path": f"/var/lib/volumes/volume-{number}"},
                },
            }
        )
    kubectl.apply(objects)


def consul(kubectl: Kubectl) -> str:
    """Apply the example as it is, and return the address of Consul's Service."""
    kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=test-cluster",
        f"--kustomize={CONSUL_EXAMPLE}",
    )
    wanted = CONSUL.name.removeprefix("docker.io/")
    if wanted not in kubectl("kustomize", str(CONSUL_EXAMPLE)):
        raise HarnessError(f"{CONSUL_EXAMPLE} does not use {wanted}, which go.mod pins")
    query = "--output=jsonpath={.spec.clusterIP}"
    return kubectl("get", "service", "consul-server", "-n", CONSUL_NAMESPACE, query)


def dns(kubectl: Kubectl, instance: Instance, *, consul_address: str) -> None:
    """Run CoreDNS for the cluster's names and, through Consul, for `.consul`."""
    text = (_MANIFESTS / "coredns.yaml").read_text()
    for key, value in {
        "CONSUL_IP": consul_address,
        "DNS_IP": instance.dns_ip,
        "IMAGE": COREDNS.name,
    }.items():
        text = text.replace(f"${{{key}}}", value)
    kubectl.apply(list(yaml.safe_load_all(text)))


def wait(settings: Settings, kubectl: Kubectl) -> None:
    """Wait until DNS and Consul serve."""
    for namespace, workload in (
        ("kube-system", "deployment/coredns"),
        (CONSUL_NAMESPACE, "statefulset/consul-server"),
        (CONSUL_NAMESPACE, "daemonset/consul-client"),
    ):
        _wait_rolled_out(settings, kubectl, namespace=namespace, workload=workload)


def _wait_rolled_out(
    settings: Settings, kubectl: Kubectl, *, namespace: str, workload: str
) -> None:
    program = [kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", "-n", namespace]
    done = run(
        [*program, "rollout", "status", workload, "--timeout=180s"], check=False, timeout=200
    )
    if done.returncode != 0:
        pods = run([*program, "get", "pods", "-o", "wide"], check=False).stdout
        events = run([*program, "get", "events", "--sort-by=.lastTimestamp"], check=False).stdout
        tail = "\n".join(events.splitlines()[-8:])
        raise HarnessError(
            f"{workload} in {namespace} does not become ready: {done.stderr.strip()}\n"
            f"{pods}{tail}\n  log: {settings.logs}/node-*-kubelet.log"
        )
    line(workload.split("/")[1], "ready")
