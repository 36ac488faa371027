"""Prometheus and promtool from their Debian packages, unpacked and not installed.

An installed package would start its service, and bring what only the pages of the user interface
need. Those of Debian 12 can't find targets in Kubernetes, those of Debian 13 can, and run on both.
apt checks signatures and checksums as ever.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster.harness.commands import run, run_logged
from cluster.harness.locks import held
from cluster.harness.report import line, working
from cluster.harness.settings import Settings

_SUITE = "trixie"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = ("prometheus", "promtool")


def programs(settings: Settings) -> Path:
    """Return the folder with ``prometheus`` and ``promtool``, fetched when it isn't cached."""
    root = settings.cache / f"prometheus-{_SUITE}"
    if not root.exists():
        with held(settings.cache / "locks" / root.name):
            if not root.exists():
                _fetch(settings, root)
    return root / "usr" / "bin"


def _fetch(settings: Settings, root: Path) -> None:
    """Use lists of packages of our own, so that the machine's stay as they are."""
    unfinished = root.with_name(f"{root.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    apt = unfinished / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    sources = apt / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYS}] http://deb.debian.org/debian {_SUITE} main\n")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt / "cache",
    }
    command = ["apt-get", "-q", *(f"--option={name}={value}" for name, value in options.items())]
    log = settings.cache / "logs" / f"{root.name}.log"
    with working("Prometheus", f"fetching its packages from Debian {_SUITE}"):
        run_logged([*command, "update"], log=log)
        run_logged([*command, "download", *_PACKAGES], log=log, cwd=apt)
        for package in apt.glob("*.deb"):
            run(["dpkg-deb", "--extract", package, unfinished])
    shutil.rmtree(apt)
    version = run([unfinished / "usr" / "bin" / "promtool", "--version"]).stdout.split()[2]
    unfinished.replace(root)
    line("Prometheus", f"{version.rstrip(',')} cached")
