"""Who may read and do what: the token, Pod Security, RBAC."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

# Looks for the agent's token at every path by which a process of the container could reach it.
SEARCH = """
import glob, os
places = ["/var/run/secrets/kubernetes.io/serviceaccount/token"]
places += glob.glob("/proc/[0-9]*/root/var/run/secrets/kubernetes.io/serviceaccount/token")
found, processes = [], []
for place in places:
    try:
        open(place).read()
        found.append(place)
    except OSError:
        pass
for folder in glob.glob("/proc/[0-9]*"):
    try:
        processes.append(open(folder + "/cmdline").read().replace(chr(0), " ").strip())
    except OSError:
        pass
    try:
        if "eyJ" in open(folder + "/environ").read():
            found.append(folder + "/environ")
    except OSError:
        pass
import json
print(json.dumps({"found": found, "processes": processes, "uid": os.getuid()}))
"""


def look(cluster: Cluster, shop: Shop, container: str) -> dict[str, object]:
    pod = shop.nginx_pods()[0]["metadata"]["name"]
    command = ("/opt/consul-nginx/bin/python", "-c", SEARCH)
    said = cluster.kubectl("exec", "-n", "shop", pod, "-c", container, "--", *command)
    found: dict[str, object] = json.loads(said)
    return found


def test_the_nginx_container_can_not_read_the_agents_token(cluster: Cluster, shop: Shop):
    seen = look(cluster, shop, "nginx")
    assert seen["uid"] == 101
    assert seen["found"] == []
    assert any("nginx" in process for process in seen["processes"])
    assert not any("consul_nginx.agent" in p and "supervisor" not in p for p in seen["processes"])


def test_the_agent_can_read_it_so_the_search_would_have_found_it(cluster: Cluster, shop: Shop):
    seen = look(cluster, shop, "agent")
    assert seen["uid"] == 102
    assert seen["found"]


@pytest.mark.parametrize("namespace", [OPERATOR_NAMESPACE, "shop"])
def test_pod_security_restricted_is_enforced_and_pods_run(
    cluster: Cluster, shop: Shop, namespace: str
):
    found = json.loads(cluster.kubectl("get", "namespace", namespace, "-o", "json"))
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    assert pods
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}


@pytest.mark.parametrize("container", ["nginx", "agent"])
def test_the_root_file_system_is_read_only(cluster: Cluster, shop: Shop, container: str):
    pod = shop.nginx_pods()[0]["metadata"]["name"]
    code = "open('/etc/written', 'w')"
    said = cluster.kubectl(
        "exec", "-n", "shop", pod, "-c", container, "--",
        "/opt/consul-nginx/bin/python", "-c",
        f"try:\n {code}\nexcept OSError as error: print(error.strerror)",
    )  # fmt: skip
    assert said.strip() == "Read-only file system"


AGENT = "system:serviceaccount:shop:edge"
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:consul-nginx-operator"
LEASE = ("leases.coordination.k8s.io/consul-nginx-operator", "-n", OPERATOR_NAMESPACE)
OTHER_LEASE = ("leases.coordination.k8s.io/another", "-n", OPERATOR_NAMESPACE)


@pytest.mark.parametrize(
    ("who", "what", "allowed"),
    [
        (AGENT, ("get", "configmap/edge-config", "-n", "shop"), True),
        (AGENT, ("get", "configmap/other", "-n", "shop"), False),
        (AGENT, ("list", "configmaps", "-n", "shop"), False),
        (AGENT, ("update", "configmap/edge-config", "-n", "shop"), False),
        (AGENT, ("get", "secrets", "-n", "shop"), False),
        (AGENT, ("list", "pods", "-n", "shop"), False),
        (OPERATOR, ("patch", "deployments.apps", "-n", "shop"), True),
        (OPERATOR, ("patch", "daemonsets.apps", "-n", "shop"), True),
        (OPERATOR, ("watch", "deployments.apps", "-n", "shop"), True),
        (OPERATOR, ("watch", "services", "-n", "shop"), True),
        (OPERATOR, ("create", "events", "-n", "shop"), True),
        (OPERATOR, ("patch", "events.events.k8s.io", "-n", "shop"), True),
        (OPERATOR, ("list", "events", "-n", "shop"), True),
        (OPERATOR, ("delete", "events", "-n", "shop"), False),
        (OPERATOR, ("list", "namespaces"), True),
        (OPERATOR, ("create", "leases.coordination.k8s.io", "-n", OPERATOR_NAMESPACE), True),
        (OPERATOR, ("update", *LEASE), True),
        (OPERATOR, ("update", *OTHER_LEASE), False),
        (OPERATOR, ("delete", *LEASE), False),
        (OPERATOR, ("create", "leases.coordination.k8s.io", "-n", "shop"), False),
        (OPERATOR, ("get", "secrets", "-n", "shop"), False),
        (OPERATOR, ("get", "secrets", "-n", OPERATOR_NAMESPACE), False),
        (OPERATOR, ("delete", "configmaps", "-n", "shop"), False),
        (OPERATOR, ("delete", "deployments.apps", "-n", "shop"), True),
        (OPERATOR, ("delete", "serviceaccounts", "-n", "shop"), False),
        (OPERATOR, ("delete", "roles", "-n", "shop"), False),
        (OPERATOR, ("patch", "namespaces"), False),
        (OPERATOR, ("delete", "pods", "-n", "shop"), False),
        (OPERATOR, ("patch", "pods", "-n", "shop"), False),
        (OPERATOR, ("create", "pods/exec", "-n", "shop"), False),
        (OPERATOR, ("delete", "loadbalancers.consul-nginx.dev", "-n", "shop"), False),
        (OPERATOR, ("patch", "loadbalancers.consul-nginx.dev", "-n", "shop"), False),
        (OPERATOR, ("create", "clusterroles"), False),
        (OPERATOR, ("bind", "clusterroles"), False),
        (OPERATOR, ("escalate", "roles", "-n", "shop"), False),
    ],
)
def test_rights_are_what_the_work_needs(
    cluster: Cluster, shop: Shop, who: str, what: tuple[str, ...], allowed: bool
):
    said = cluster.kubectl("auth", "can-i", *what, f"--as={who}", check=False)
    assert said.strip() == ("yes" if allowed else "no")
