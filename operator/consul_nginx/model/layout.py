"""Where things are inside an nginx pod, and which ports and sockets its parts talk over.

Shared by the operator (pod template), the renderer (paths in the configuration) and the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

AGENT_PORT = 9901
NGINX_UID = 101
AGENT_UID = 102
SHARED_GID = 101

_ROOT = PurePosixPath("/run/consul-nginx")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths on the volume that agent and nginx share; ``root`` moves all of them (tests do)."""

    root: PurePosixPath = _ROOT

    @property
    def generated(self) -> PurePosixPath:
        """One folder per bundle, named by its hash; written by the agent, read by nginx."""
        return self.root / "generated"

    @property
    def trials(self) -> PurePosixPath:
        """Bundles that are only ever tested, to find what is wrong with one; by the agent."""
        return self.root / "trials"

    @property
    def secrets(self) -> PurePosixPath:
        """Files made of Secrets, named by their SHA-256; written by the agent, read by nginx."""
        return self.root / "secrets"

    @property
    def nginx(self) -> PurePosixPath:
        """What nginx and its supervisor write: ``current``, the pid file, the sockets."""
        return self.root / "nginx"

    @property
    def temp(self) -> PurePosixPath:
        """Bodies that nginx buffers; on a disk, so that they take no memory from the bundles."""
        return self.root / "temp"

    @property
    def current(self) -> PurePosixPath:
        """Symbolic link to the bundle that nginx is to run."""
        return self.nginx / "current"

    @property
    def pid_file(self) -> PurePosixPath:
        """Process id of nginx's master."""
        return self.nginx / "nginx.pid"

    @property
    def status_socket(self) -> PurePosixPath:
        """nginx answers ``/hash`` (the hash of the worker's bundle) and ``/stub_status`` here."""
        return self.nginx / "status.sock"

    @property
    def unavailable_socket(self) -> PurePosixPath:
        """nginx answers 503 here: the upstream of a mapping without a single endpoint."""
        return self.nginx / "unavailable.sock"

    @property
    def mirrors_socket(self) -> PurePosixPath:
        """nginx takes copies of requests here, and sends them on."""
        return self.nginx / "mirrors.sock"

    @property
    def supervisor_socket(self) -> PurePosixPath:
        """The supervisor takes the agent's requests here."""
        return self.nginx / "supervisor.sock"
