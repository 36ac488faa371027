"""Debian packages the cluster needs, installed when missing."""

from __future__ import annotations

import os

from cluster.harness.commands import run, run_logged
from cluster.harness.report import line, working
from cluster.harness.settings import Settings

# What a package is for, where its name doesn't say.
PACKAGES = (
    "buildah",
    "ca-certificates",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "debian-archive-keyring",
    "debootstrap",
    "gcc",  # the pause program
    "iproute2",
    "ipset",
    "iptables",  # host ports, by the portmap plugin
    "kmod",
    "libc6-dev",
    "nftables",
    "runc",
    "util-linux",
)
_QUERY = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"]


def missing() -> list[str]:
    """Return the needed packages that are not installed."""
    said = run([*_QUERY, *PACKAGES], check=False).stdout.splitlines()
    installed = {text.split()[0] for text in said if text.endswith(" installed")}
    return [name for name in PACKAGES if name not in installed]


def install(settings: Settings) -> None:
    """Install what is missing; services that Debian would start stay off."""
    names = missing()
    if not names:
        line("Debian packages", "installed")
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    log = settings.logs / "apt.log"
    with working("Debian packages", f"installing {' '.join(names)}"):
        run_logged(["apt-get", "update", "-q"], log=log, env=env)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]
        run_logged(command, log=log, env=env)
