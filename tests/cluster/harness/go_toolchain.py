"""A Go that is new enough: the machine's own, or one fetched as a Go module.

From 1.21 on Go fetches the toolchain that go.mod names. Debian bookworm's Go is
older, but its `go mod download` can fetch the same module, checksum and all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from cluster.harness.commands import run, run_logged
from cluster.harness.report import HarnessError, working
from cluster.harness.settings import TOOLS, Settings

_SELF_UPDATING = (1, 21)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which `go build` builds the cluster's programs."""
    env = {**os.environ, "CGO_ENABLED": "0"}
    program = shutil.which("go")
    if program and _version(program) >= _SELF_UPDATING:
        return env
    folder = _fetch(settings, program or _install(settings))
    return {**env, "PATH": f"{folder / 'bin'}:{env['PATH']}", "GOTOOLCHAIN": "local"}


def wanted(go_mod: str) -> str:
    """Return the Go version that a go.mod's text asks for."""
    match = re.search(r"^go (\d+\.\d+\.\d+)$", go_mod, re.MULTILINE)
    if match is None:
        raise HarnessError("go.mod names no Go version")
    return match.group(1)


def _version(program: str) -> tuple[int, ...]:
    match = re.search(r"go(\d+)\.(\d+)", run([program, "version"], check=False).stdout)
    return tuple(map(int, match.groups())) if match else (0, 0)


def _install(settings: Settings) -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = settings.logs / "apt.log"
    with working("Go", "installing Debian's"):
        run_logged(["apt-get", "update", "-q"], log=log, env=env)
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "golang-go"]
        run_logged(install, log=log, env=env)
    return "/usr/bin/go"


def _fetch(settings: Settings, program: str) -> Path:
    number = max(
        (wanted(file.read_text()) for file in TOOLS.glob("*/go.mod")),
        key=lambda text: tuple(map(int, text.split("."))),
    )
    module = f"golang.org/toolchain@v0.0.1-go{number}.linux-amd64"
    said = run([program, "mod", "download", "-json", module], cwd=settings.cache, timeout=600)
    folder = Path(json.loads(said.stdout)["Dir"])
    for pattern in ("bin/*", "pkg/tool/*/*"):  # module archives carry no permissions
        for file in folder.glob(pattern):
            file.chmod(0o755)
    return folder
