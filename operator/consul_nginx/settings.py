"""Settings of the operator process; every one is a flag and an environment variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.policy import Policy
from consul_nginx.resources.registration import RegistrationFile


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """What ``consul-nginx operator`` is started with.

    ``consul_address`` is a base URL; ``consul_token`` comes from a Secret by way of the
    environment and is never logged; ``consul_ca_file`` has the only CAs to trust, None means the
    system's. ``nginx_image_pull_secrets`` are names of Secrets in each LoadBalancer's namespace.
    ``namespaces`` empty means all. ``registration`` None: nothing is registered; a ``cluster``
    that is empty is found out. ``lease`` is that by which replicas agree on who leads, None: this
    one always does; ``identity`` is its name among them.
    """

    consul_address: str
    consul_datacenter: str | None
    consul_token: str | None
    consul_ca_file: Path | None
    nginx_image: str
    nginx_image_pull_secrets: tuple[str, ...]
    policy: Policy
    registration: RegistrationFile | None
    lease: ObjectRef | None
    identity: str
    namespaces: tuple[str, ...]
    http_port: int
    workers: int
