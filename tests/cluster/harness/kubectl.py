"""kubectl as a callable: the same program people use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.commands import run


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """Runs kubectl against one cluster."""

    program: Path
    kubeconfig: Path

    def __call__(
        self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = 120.0
    ) -> str:
        """Run kubectl and return what it printed."""
        command = [self.program, f"--kubeconfig={self.kubeconfig}", *words]
        return run(command, stdin=stdin, check=check, timeout=timeout).stdout

    def apply(self, objects: list[dict[str, Any]]) -> None:
        """Apply objects on the server's side."""
        text = yaml.safe_dump_all(objects)
        manager = "--field-manager=test-cluster"
        words = ("apply", "--server-side", "--force-conflicts", manager, "--filename=-")
        self(*words, stdin=text)
