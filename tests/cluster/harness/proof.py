"""The proof that the inside works: a restricted pod lists pods through the `kubernetes` Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.harness.commands import wait_until
from cluster.harness.report import HarnessError, line

if TYPE_CHECKING:
    from cluster.harness.kubectl import Kubectl

_NAMESPACE = "cluster-proof"
_SCRIPT = """
import json, ssl, sys, time, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
context.verify_flags |= ssl.VERIFY_X509_STRICT
url = "https://kubernetes.default.svc/api/v1/namespaces/cluster-proof/pods"
headers = {"Authorization": "Bearer " + open(f"{folder}/token").read()}
for attempt in range(30):
    try:
        request = urllib.request.Request(url, headers=headers)
        items = json.load(urllib.request.urlopen(request, context=context, timeout=5))["items"]
        sys.exit(print("pods seen:", len(items)))
    except OSError as error:
        print("attempt", attempt, error, file=sys.stderr)
        time.sleep(0.5)
sys.exit(1)
"""


def run(kubectl: Kubectl, *, image: str) -> None:
    """Run the proof in a namespace of its own, which is removed afterwards."""
    gone = ("delete", "namespace", _NAMESPACE, "--ignore-not-found")
    kubectl(*gone, "--wait=true", timeout=120)
    kubectl.apply(_objects(image))
    pod = ("-n", _NAMESPACE, "get", "pod", "proof", "--output=jsonpath={.status.phase}")
    wait_until(
        lambda: kubectl(*pod, check=False) in ("Succeeded", "Failed"),
        what="the proof's pod ended",
        seconds=90,
        interval=0.5,
        give_up=lambda: None,
    )
    said = kubectl("-n", _NAMESPACE, "logs", "proof", check=False)
    if "pods seen: 1" not in said:
        raise HarnessError(f"a pod can't list pods through the kubernetes Service:\n{said}")
    kubectl(*gone, "--wait=false")
    line("proof", "a restricted pod listed pods through the kubernetes Service")


def _objects(image: str) -> list[dict[str, Any]]:
    meta = {"name": "proof", "namespace": _NAMESPACE}
    subject = {"kind": "ServiceAccount", **meta}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "proof"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    rbac = "rbac.authorization.k8s.io/v1"
    namespace = {
        "name": _NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }
    container = {
        "name": "proof",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _SCRIPT],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "serviceAccountName": "proof",
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": rbac, "kind": "Role", "metadata": meta, "rules": [rule]},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [subject],
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
    ]
