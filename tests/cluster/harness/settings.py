"""Where things are: the checkout, the cluster's folder, the cache shared by all clones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cluster.harness.report import HarnessError

REPOSITORY = Path(__file__).resolve().parents[3]
TOOLS = REPOSITORY / "tests" / "cluster" / "tools"
MAX_NODES = 50


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The few things a person may set, all by environment."""

    cluster_dir: Path
    cache: Path
    nodes: int

    @classmethod
    def from_environment(cls) -> Settings:
        """Read CLUSTER_DIR, CLUSTER_NODES and XDG_CACHE_HOME."""
        folder = os.environ.get("CLUSTER_DIR") or str(REPOSITORY / ".cluster")
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        text = os.environ.get("CLUSTER_NODES") or "3"
        if not text.isdigit() or not 1 <= int(text) <= MAX_NODES:
            raise HarnessError(f"CLUSTER_NODES={text}: must be a number from 1 to {MAX_NODES}")
        return cls(
            cluster_dir=Path(folder).expanduser().resolve(),
            cache=Path(cache).expanduser().resolve() / "consul-nginx-operator",
            nodes=int(text),
        )

    @property
    def bin(self) -> Path:
        """Programs: what the cluster runs, and kubectl, helm, consul and nginx for people."""
        return self.cluster_dir / "bin"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.cluster_dir / "logs"

    @property
    def pki(self) -> Path:
        """Keys, certificates and the components' kubeconfigs."""
        return self.cluster_dir / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.cluster_dir / "kubeconfig"

    @property
    def volumes(self) -> Path:
        """The data behind the persistent volumes, the same on every node."""
        return self.cluster_dir / "volumes"

    def node_dir(self, name: str) -> Path:
        """Everything of one node: its /var/lib and /var/log."""
        return self.cluster_dir / "nodes" / name
