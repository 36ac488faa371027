"""The names of all images, in one place. What go.mod pins is not repeated here."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.harness.binaries import BY_NAME


@dataclass(frozen=True, kw_only=True)
class SmallImage:
    """An image of one program and nothing else."""

    name: str
    program: str
    path: str
    user: str = ""


PAUSE = SmallImage(name="registry.k8s.io/pause:3.10", program="pause", path="/pause", user="65535")
COREDNS = SmallImage(
    name=f"registry.k8s.io/coredns/coredns:{BY_NAME['coredns'].version}",
    program="coredns",
    path="/coredns",
)
CONSUL = SmallImage(
    name=f"docker.io/hashicorp/consul:{BY_NAME['consul'].version.removeprefix('v')}",
    program="consul",
    path="/bin/consul",
    user="100:1000",  # as in the official image
)
SMALL = (PAUSE, COREDNS, CONSUL)

# The project's own images, by the Dockerfile's targets.
PROJECT = {
    "operator": "docker.io/library/consul-nginx-operator:dev",
    "nginx": "docker.io/library/consul-nginx:dev",
}
