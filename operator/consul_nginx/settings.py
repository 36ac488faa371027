"""Settings of the operator process; every one is a flag and an environment variable."""

from __future__ import annotations

from dataclasses import dataclass

from consul_nginx.model.policy import Policy


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """What ``consul-nginx operator`` is started with.

    ``consul_address`` is a base URL; ``consul_token`` comes from a Secret by way of the
    environment and is never logged. ``namespaces`` empty means all. ``lease_namespace`` is where
    replicas agree on who leads, None: this one always does;
    ``identity`` is its name among them.
    """

    consul_address: str
    consul_datacenter: str | None
    consul_token: str | None
    nginx_image: str
    policy: Policy
    lease_namespace: str | None
    identity: str
    namespaces: tuple[str, ...]
    http_port: int
    workers: int
