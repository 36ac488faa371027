"""The two products: the same nginx, the same configuration, the same node, one pod each.

consul-template's nginx runs the very files that the operator has written for its own, but for the
endpoints, which consul-template renders from a template as people write them.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.observers import Target
from cluster.harness import binaries
from cluster.harness.addons import CONSUL_NAMESPACE
from cluster.harness.cluster import CONSUL_PORT
from cluster.harness.pinned_images import PROJECT
from cluster.harness.report import HarnessError
from consul_nginx.kube.children import LABEL_LOAD_BALANCER
from consul_nginx.model.bundle import ENDPOINTS_PREFIX, MANIFEST_KEY
from consul_nginx.model.kubernetes import GROUP, VERSION
from consul_nginx.model.layout import NGINX_UID, SHARED_GID, Layout

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster

NAMESPACE = "bench"
OPERATOR = "operator"
CONSUL_TEMPLATE = "consul-template"
RESOURCES = {"requests": {"cpu": "500m"}}
HTTP_PORT = 80
TCP_PORT = 25000

_PYTHON = "/opt/consul-nginx/bin/python"
_HOST = "bench.example.com"
_CONSUL = f"http://consul-server.{CONSUL_NAMESPACE}.svc:{CONSUL_PORT}"


@dataclass(frozen=True, kw_only=True)
class Product:
    """One of the two, its pod, and where nginx answers in it."""

    name: str
    pod: str
    target: Target

    @property
    def service(self) -> str:
        """Its service in Consul."""
        return service_of(self.name)


def service_of(product: str) -> str:
    """A product's service in Consul: each has its own, so that one is not woken by the other's."""
    return f"bench-{product}"


def install(cluster: Cluster) -> tuple[Product, Product]:
    """Both, each with one nginx; their services are in Consul already."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    pod = _install_load_balancer(cluster)
    peer = _install_consul_template(cluster, node=pod["spec"]["nodeName"])
    return _product(OPERATOR, pod), _product(CONSUL_TEMPLATE, peer)


def remove(cluster: Cluster) -> None:
    """Everything that ``install`` has made."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)


def _product(name: str, pod: dict[str, Any]) -> Product:
    address = pod["status"]["podIP"]
    target = Target(http=f"{address}:{HTTP_PORT}", tcp=f"{address}:{TCP_PORT}", host=_HOST)
    return Product(name=name, pod=pod["metadata"]["name"], target=target)


def nginx_version(cluster: Cluster, product: Product) -> str:
    """What its nginx says of itself."""
    words = ("exec", "-n", NAMESPACE, product.pod, "-c", "nginx", "--", "sh", "-c", "nginx -v 2>&1")
    return cluster.kubectl(*words).strip().removeprefix("nginx version: nginx/")


def _install_load_balancer(cluster: Cluster) -> dict[str, Any]:
    cluster.kubectl.apply([_load_balancer(), *_mappings()])
    cluster.kubectl(
        "wait", "-n", NAMESPACE, f"nlb/{OPERATOR}", "--for=condition=Ready", "--timeout=120s"
    )
    words = ("get", "pods", "-n", NAMESPACE, "-o", "json")
    found = json.loads(cluster.kubectl(*words, f"--selector={LABEL_LOAD_BALANCER}={OPERATOR}"))
    [pod] = found["items"]
    return dict(pod)


def _load_balancer() -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "LoadBalancer",
        "metadata": {"name": OPERATOR, "namespace": NAMESPACE},
        "spec": {
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": HTTP_PORT},
                {"name": "tcp", "protocol": "TCP", "port": TCP_PORT},
            ],
            "deployment": {"replicas": 1, "resources": RESOURCES},
        },
    }


def _mappings() -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "ServiceMapping",
            "metadata": {"name": listener, "namespace": NAMESPACE},
            "spec": {
                "loadBalancerRef": {"name": OPERATOR},
                "listener": listener,
                "backends": [{"service": service_of(OPERATOR)}],
                **chosen_by,
            },
        }
        for listener, chosen_by in (("http", {"hostnames": [_HOST]}), ("tcp", {}))
    ]


def _install_consul_template(cluster: Cluster, *, node: str) -> dict[str, Any]:
    words = ("get", "configmap", f"{OPERATOR}-config", "-n", NAMESPACE, "-o", "json")
    files: dict[str, str] = json.loads(cluster.kubectl(*words))["data"]
    program = binaries.provide(cluster.settings, CONSUL_TEMPLATE)
    cluster.kubectl.apply([_peer_files(files), _peer_pod(program=program, node=node)])
    ready = ("wait", f"pod/{CONSUL_TEMPLATE}", "--for=condition=Ready", "--timeout=60s")
    try:
        cluster.kubectl(*ready, "-n", NAMESPACE)
    except HarnessError as error:
        said = cluster.kubectl("logs", "-n", NAMESPACE, CONSUL_TEMPLATE, check=False)
        raise HarnessError(f"{error}\n{said[-1000:]}") from error
    words = ("get", "pod", CONSUL_TEMPLATE, "-n", NAMESPACE, "-o", "json")
    return dict(json.loads(cluster.kubectl(*words)))


def _peer_files(files: dict[str, str]) -> dict[str, Any]:
    """nginx's files; those of the endpoints become templates."""
    data = {
        name: text
        for name, text in files.items()
        if name != MANIFEST_KEY and not name.startswith(ENDPOINTS_PREFIX)
    }
    endpoints = [name for name in files if name.startswith(ENDPOINTS_PREFIX)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONSUL_TEMPLATE, "namespace": NAMESPACE},
        "data": {
            **data,
            # Of two templates with the same text, consul-template renders one.
            **{f"{name}.ctmpl": f"# {name}\n{TEMPLATE}" for name in endpoints},
            "start.sh": _start(endpoints),
        },
    }


TEMPLATE = (
    f'{{{{ range service "{service_of(CONSUL_TEMPLATE)}" }}}}'
    "server {{ .Address }}:{{ .Port }};\n"
    "{{ else }}server 127.0.0.1:65535;\n{{ end }}"
)
# nginx's stream may be a module: it is told of it as in our own pods.
_MODULES = (
    "from consul_nginx.agent.supervisor.modules import build_of, directives; "
    "print(directives(build_of('/usr/sbin/nginx')))"
)


def _start(endpoints: list[str]) -> str:
    """Render once, start nginx, then render and reload for ever: no ``wait``, so no quiet time."""
    folder = Layout().nginx / "conf"
    nginx = f"nginx -e stderr -c {folder}/nginx.conf"
    templates = [f"-template={folder}/{name}.ctmpl:{folder}/{name}" for name in endpoints]
    once = " ".join(templates)
    for_ever = " ".join(f"'{template}:{nginx} -s reload'" for template in templates)
    return textwrap.dedent(
        f"""\
        set -e
        mkdir -p {folder} {Layout().temp}
        cp /files/* {folder}/
        {_PYTHON} -c "{_MODULES}" | cat - /files/nginx.conf > {folder}/nginx.conf
        consul-template -consul-addr={_CONSUL} {once} -once
        {nginx}
        exec consul-template -consul-addr={_CONSUL} {for_ever}
        """
    )


def _peer_pod(*, program: Path, node: str) -> dict[str, Any]:
    mounts = [
        {"name": "run", "mountPath": str(Layout().root)},
        {"name": "files", "mountPath": "/files"},
        {"name": "program", "mountPath": "/usr/local/bin/consul-template"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CONSUL_TEMPLATE, "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsUser": NGINX_UID,
                "runAsGroup": SHARED_GID,
                "fsGroup": SHARED_GID,
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            "containers": [
                {
                    "name": "nginx",
                    "image": PROJECT["nginx"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "/files/start.sh"],
                    "resources": RESOURCES,
                    "readinessProbe": {"tcpSocket": {"port": HTTP_PORT}, "periodSeconds": 1},
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [
                {"name": "run", "emptyDir": {"medium": "Memory"}},
                {"name": "files", "configMap": {"name": CONSUL_TEMPLATE}},
                {"name": "program", "hostPath": {"path": str(program), "type": "File"}},
            ],
        },
    }
