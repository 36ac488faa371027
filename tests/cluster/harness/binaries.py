"""Build the cluster's programs from Go modules, once per pinned version.

Checksums stay on: go.sum is committed and the ordinary go client checks it.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.harness import go_toolchain, modules
from cluster.harness.commands import run_logged
from cluster.harness.locks import held
from cluster.harness.report import line, working
from cluster.harness.settings import TOOLS, Settings

_KUBERNETES = "k8s.io/kubernetes"


@dataclass(frozen=True, kw_only=True)
class Binary:
    """A program: the family (folder) that pins it, and its Go package."""

    name: str
    family: str
    module: str
    package: str

    @property
    def version(self) -> str:
        """The pinned version."""
        return modules.pinned(TOOLS, self.family, self.module)

    @property
    def linker_flags(self) -> str:
        """Strip; and tell Kubernetes its version, which helm and kubectl insist on."""
        flags = "-s -w"
        if self.family == "kubernetes":
            version = modules.pinned(TOOLS, "kubernetes", _KUBERNETES)
            major, minor = version.removeprefix("v").split(".")[:2]
            base = "-X k8s.io/component-base/version"
            flags += f" {base}.gitVersion={version} {base}.gitMajor={major} {base}.gitMinor={minor}"
        return flags

    @property
    def key(self) -> str:
        """The cache key: all that decides on the program's bytes."""
        digest = hashlib.sha256()
        for file in ("go.mod", "go.sum"):
            digest.update((TOOLS / self.family / file).read_bytes())
        digest.update(f"{self.package} {self.linker_flags}".encode())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


def _kubernetes(name: str) -> Binary:
    return Binary(
        name=name, family="kubernetes", module=_KUBERNETES, package=f"{_KUBERNETES}/cmd/{name}"
    )


def _plain(name: str, family: str, module: str, package: str = "") -> Binary:
    return Binary(name=name, family=family, module=module, package=package or module)


ALL = (
    _plain("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kube-proxy"),
    _kubernetes("kubelet"),
    _kubernetes("kubectl"),
    _plain("helm", "kubernetes", "helm.sh/helm/v3", "helm.sh/helm/v3/cmd/helm"),
    _plain("coredns", "coredns", "github.com/coredns/coredns"),
    _plain("consul", "consul", "github.com/hashicorp/consul"),
)
# What only some tests need: built when they ask for it, so that a cluster is up no later for it.
ON_DEMAND = (
    _plain("vegeta", "vegeta", "github.com/tsenart/vegeta/v12"),
    _plain("consul-template", "consul-template", "github.com/hashicorp/consul-template"),
    _plain("kwok", "kwok", "sigs.k8s.io/kwok", "sigs.k8s.io/kwok/cmd/kwok"),
)
BY_NAME = {binary.name: binary for binary in (*ALL, *ON_DEMAND)}


def build_all(settings: Settings) -> None:
    """Build what isn't cached, and put every program into the cluster's bin folder."""
    settings.bin.mkdir(parents=True, exist_ok=True)
    todo = [binary for binary in ALL if not _cached(settings, binary).exists()]
    for position, binary in enumerate(todo, start=1):
        _build(settings, binary, position=f"[{position}/{len(todo)}]")
    for binary in ALL:
        _link(settings, binary)
    line("programs", f"{len(ALL)} in {settings.bin}")


def provide(settings: Settings, name: str) -> Path:
    """Return one program, built when not cached; the bin folder has it too."""
    binary = BY_NAME[name]
    if not _cached(settings, binary).exists():
        _build(settings, binary, position="[1/1]")
    settings.bin.mkdir(parents=True, exist_ok=True)
    _link(settings, binary)
    return _cached(settings, binary)


def _link(settings: Settings, binary: Binary) -> None:
    link, target = settings.bin / binary.name, _cached(settings, binary)
    if not (link.is_symlink() and link.readlink() == target):
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _cached(settings: Settings, binary: Binary) -> Path:
    return settings.cache / "bin" / binary.key


def _build(settings: Settings, binary: Binary, *, position: str) -> None:
    target = _cached(settings, binary)
    unfinished = target.with_suffix(".part")
    log = settings.cache / "logs" / f"build-{binary.key}.log"
    command = [
        "go",
        "build",
        "-trimpath",
        "-ldflags",
        binary.linker_flags,
        "-o",
        unfinished,
        binary.package,
    ]
    with held(settings.cache / "locks" / binary.key):
        if target.exists():  # another run built it while we waited
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with working(f"{position} {binary.name}", f"building {binary.version}"):
            run_logged(
                command,
                log=log,
                cwd=TOOLS / binary.family,
                env=go_toolchain.environment(settings),
            )
        shutil.move(unfinished, target)
