"""The command line: ``consul-nginx``."""

from __future__ import annotations

import asyncio
import platform
from typing import TextIO

import click

from consul_nginx import logs
from consul_nginx.handlers import operator
from consul_nginx.model.policy import Policy
from consul_nginx.resources.policy import PolicyError, parse_policy
from consul_nginx.settings import OperatorSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="consul-nginx-operator")
def main() -> None:
    """Put nginx in front of what Consul knows, on Kubernetes."""


@main.command("operator")
@click.option(
    "--consul-address",
    envvar="CONSUL_NGINX_CONSUL_ADDRESS",
    default="http://consul-server.consul.svc:8500",
    show_default=True,
    show_envvar=True,
    help="Base URL of Consul's HTTP API.",
)
@click.option(
    "--consul-datacenter",
    envvar="CONSUL_NGINX_CONSUL_DATACENTER",
    show_envvar=True,
    help="Datacenter to ask; by default that of the agent that answers.",
)
@click.option(
    "--consul-token",
    envvar="CONSUL_NGINX_CONSUL_TOKEN",
    show_envvar=True,
    help="ACL token; better given by the environment than by the flag.",
)
@click.option(
    "--nginx-image",
    envvar="CONSUL_NGINX_NGINX_IMAGE",
    required=True,
    show_envvar=True,
    help="Image of the nginx pods.",
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    envvar="CONSUL_NGINX_NAMESPACES",
    show_envvar=True,
    help="Namespace to work in; can be repeated. Without it: all.",
)
@click.option(
    "--policy-file",
    type=click.File(encoding="utf-8"),
    envvar="CONSUL_NGINX_POLICY_FILE",
    show_envvar=True,
    help="YAML that says who may map what, and which Consuls may be named. Without it: everybody "
    "may map everything, and none may be named.",
)
@click.option(
    "--lease-namespace",
    envvar="CONSUL_NGINX_LEASE_NAMESPACE",
    show_envvar=True,
    help="Namespace of the Lease by which replicas agree on who writes. Without it: this one does.",
)
@click.option(
    "--identity",
    envvar="CONSUL_NGINX_IDENTITY",
    show_envvar=True,
    help="Name of this replica in the Lease; by default that of the machine.",
)
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Port for /metrics, /healthz and /readyz.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="LoadBalancers that are reconciled at the same time.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="CONSUL_NGINX_LOG_LEVEL",
    show_envvar=True,
    help="Least level that is logged.",
)
def run_operator(
    *,
    consul_address: str,
    consul_datacenter: str | None,
    consul_token: str | None,
    nginx_image: str,
    namespaces: tuple[str, ...],
    policy_file: TextIO | None,
    lease_namespace: str | None,
    identity: str | None,
    http_port: int,
    workers: int,
    log_level: str,
) -> None:
    """Run the operator until it is stopped by a signal."""
    if not consul_address.startswith(("http://", "https://")):
        raise click.BadParameter(
            f"{consul_address!r} is not a URL; write http://HOST:PORT or https://HOST:PORT",
            param_hint="--consul-address",
        )
    logs.configure(level=log_level)
    policy = Policy()
    if policy_file is not None:
        try:
            policy = parse_policy(policy_file.read())
        except PolicyError as error:
            raise click.BadParameter(str(error), param_hint=policy_file.name) from error
    settings = OperatorSettings(
        consul_address=consul_address,
        consul_datacenter=consul_datacenter,
        consul_token=consul_token,
        nginx_image=nginx_image,
        namespaces=namespaces,
        policy=policy,
        lease_namespace=lease_namespace,
        identity=identity or platform.node(),
        http_port=http_port,
        workers=workers,
    )
    asyncio.run(operator.run(settings))


if __name__ == "__main__":
    main()
