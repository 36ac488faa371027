"""etcd, API server, controller manager and scheduler, on this machine's side of the bridge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness import processes
from cluster.harness.binaries import BY_NAME
from cluster.harness.commands import run, wait_until
from cluster.harness.pki import Authority
from cluster.harness.report import line

if TYPE_CHECKING:
    from cluster.harness.instances import Instance
    from cluster.harness.settings import Settings

API_SERVER = "kube-apiserver"
API_PORT = 6443
COMPONENTS = ("etcd", API_SERVER, "kube-controller-manager", "kube-scheduler")
DNS_DOMAIN = "cluster.local"


def api_url(instance: Instance) -> str:
    """Return the API server's URL."""
    return f"https://{instance.host_ip}:{API_PORT}"


def healthy(settings: Settings, instance: Instance) -> bool:
    """Whether the control plane's processes live and the API server says that it is ready."""
    alive = all(processes.running(instance, name) for name in ("etcd", API_SERVER))
    return alive and settings.kubeconfig.exists() and _answers(settings)


def start(settings: Settings, instance: Instance, authority: Authority) -> None:
    """Start what doesn't run, and wait until the API server is ready."""
    server = api_url(instance)
    authority.kubeconfig(
        settings.kubeconfig,
        server=server,
        common_name="cluster-admin",
        organization="system:masters",
    )
    for name in COMPONENTS:
        if processes.running(instance, name):
            line(name, "runs")
            continue
        argv = _FLAGS[name](settings, instance, authority)
        processes.start(
            [settings.bin / name, *argv],
            name=name,
            instance=instance,
            logs=settings.logs,
            version=BY_NAME[name].version,
        )
        line(name, BY_NAME[name].version)
        if name == API_SERVER:
            _wait_for_api(settings, instance)


def _wait_for_api(settings: Settings, instance: Instance) -> None:
    record = processes.recorded(instance, API_SERVER)
    wait_until(
        lambda: _answers(settings),
        what="API server ready",
        seconds=90,
        log=settings.logs / f"{API_SERVER}.log",
        give_up=lambda: None if record and record.alive else "its process ended",
    )


def _answers(settings: Settings) -> bool:
    command = [settings.bin / "kubectl", f"--kubeconfig={settings.kubeconfig}"]
    ready = [*command, "--request-timeout=5s", "get", "--raw=/readyz"]
    return run(ready, check=False).stdout == "ok"


def _etcd(settings: Settings, instance: Instance, _: Authority) -> list[str]:
    clients, peers = f"http://{instance.loopback}:2379", f"http://{instance.loopback}:2380"
    return [
        f"--data-dir={settings.cluster_dir / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # A dead cluster begins anew, so there is nothing to protect from a power cut.
        "--unsafe-no-fsync",
    ]


def _api_server(_: Settings, instance: Instance, authority: Authority) -> list[str]:
    certificate, key = authority.issue(
        "kube-apiserver",
        common_name="kube-apiserver",
        hosts=(
            instance.host_ip,
            str(instance.service_network[1]),
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{DNS_DOMAIN}",
        ),
    )
    kubelet_certificate, kubelet_key = authority.issue(
        "kubelet-client", common_name="kube-apiserver", organization="system:masters"
    )
    signing, verifying = authority.service_account_keys()
    return [
        f"--etcd-servers=http://{instance.loopback}:2379",
        f"--service-cluster-ip-range={instance.service_network}",
        f"--bind-address={instance.host_ip}",
        f"--advertise-address={instance.host_ip}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={authority.certificate_file}",
        f"--service-account-issuer=https://kubernetes.default.svc.{DNS_DOMAIN}",
        f"--service-account-signing-key-file={signing}",
        f"--service-account-key-file={verifying}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={authority.certificate_file}",
        f"--kubelet-client-certificate={kubelet_certificate}",
        f"--kubelet-client-key={kubelet_key}",
    ]


def _controller_manager(settings: Settings, instance: Instance, authority: Authority) -> list[str]:
    signing, _ = authority.service_account_keys()
    kubeconfig = _kubeconfig(settings, instance, authority, name="kube-controller-manager")
    return [
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={instance.loopback}",
        f"--service-account-private-key-file={signing}",
        f"--root-ca-file={authority.certificate_file}",
        # Node objects are created with their pod network: nothing to allocate.
        "--allocate-node-cidrs=false",
        f"--cluster-cidr={instance.pod_network}",
        "--use-service-account-credentials=true",
        # By default a controller sends 20 requests per second: a rollout of 200 pods took 23 s.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _scheduler(settings: Settings, instance: Instance, authority: Authority) -> list[str]:
    kubeconfig = _kubeconfig(settings, instance, authority, name="kube-scheduler")
    return [f"--kubeconfig={kubeconfig}", f"--bind-address={instance.loopback}"]


def _kubeconfig(settings: Settings, instance: Instance, authority: Authority, *, name: str) -> Path:
    return authority.kubeconfig(
        settings.pki / f"{name}.kubeconfig", server=api_url(instance), common_name=f"system:{name}"
    )


_FLAGS = {
    "etcd": _etcd,
    API_SERVER: _api_server,
    "kube-controller-manager": _controller_manager,
    "kube-scheduler": _scheduler,
}
