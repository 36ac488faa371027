"""The command line: ``consul-nginx``."""

from __future__ import annotations

import asyncio
import platform
import sys
from pathlib import Path
from typing import Any

import aiohttp
import click

from consul_nginx import logs
from consul_nginx.commands.cleanup import cleanup
from consul_nginx.commands.lint import lint
from consul_nginx.commands.options import consul_options, object_ref, policy_option, url
from consul_nginx.commands.registrations import registrations
from consul_nginx.commands.render import render
from consul_nginx.commands.snapshot import snapshot
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.handlers import check, operator
from consul_nginx.kube.client import connect
from consul_nginx.resources.registration import (
    RegistrationFile,
    RegistrationFileError,
    parse_registration_file,
)
from consul_nginx.settings import OperatorSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="consul-nginx-operator")
def main() -> None:
    """Put nginx in front of what Consul knows, on Kubernetes."""


def _registration(
    _context: click.Context, parameter: click.Parameter, value: Path | None
) -> RegistrationFile | None:
    if value is None:
        return None
    try:
        return parse_registration_file(value.read_text(encoding="utf-8"))
    except (RegistrationFileError, OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}", param_hint=parameter.opts[0]) from error


def _identity(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    return value or platform.node()


@main.command("operator")
@consul_options
@click.option(
    "--nginx-image",
    envvar="CONSUL_NGINX_NGINX_IMAGE",
    required=True,
    show_envvar=True,
    help="Image of the nginx pods.",
)
@click.option(
    "--nginx-image-pull-secret",
    "nginx_image_pull_secrets",
    multiple=True,
    envvar="CONSUL_NGINX_NGINX_IMAGE_PULL_SECRETS",
    show_envvar=True,
    help="Secret, in each LoadBalancer's namespace, to pull that image with; can be repeated.",
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    envvar="CONSUL_NGINX_NAMESPACES",
    show_envvar=True,
    help="Namespace to work in; can be repeated. Without it: all.",
)
@policy_option
@click.option(
    "--registration-file",
    "registration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="CONSUL_NGINX_REGISTRATION_FILE",
    show_envvar=True,
    callback=_registration,
    help="YAML that says how Pods are registered in Consul. Without it: none is.",
)
@click.option(
    "--lease",
    envvar="CONSUL_NGINX_LEASE",
    show_envvar=True,
    callback=object_ref,
    help="NAMESPACE/NAME of the Lease by which replicas agree on who writes. Without it: this one.",
)
@click.option(
    "--identity",
    envvar="CONSUL_NGINX_IDENTITY",
    default=None,
    show_envvar=True,
    callback=_identity,
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
def run_operator(*, log_level: str, **settings: Any) -> None:
    """Run the operator until it is stopped by a signal."""
    logs.configure(level=log_level)
    asyncio.run(operator.run(OperatorSettings(**settings)))


@main.command("check", short_help="Look whether an installation is well.")
@consul_options
@click.option(
    "--operator-url",
    required=True,
    callback=url,
    help="Base URL of the operator's HTTP port.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds for which what is not well is looked at again.",
)
def run_check(
    *,
    consul_address: str,
    consul_datacenter: str | None,
    consul_token: str | None,
    consul_ca_file: Path | None,
    operator_url: str,
    patience: float,
) -> None:
    """Look whether Kubernetes, Consul and the operator are well; exit 1 when one is not."""

    def tell(finding: check.Finding) -> None:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.words}")

    async def look() -> bool:
        async with (
            connect() as kube,
            PooledTransport(address=consul_address, ca_file=consul_ca_file) as transport,
            aiohttp.ClientSession() as session,
        ):
            return await check.all_good(
                (
                    lambda: check.kinds_are_served(kube),
                    lambda: check.consul_answers(
                        transport=transport,
                        datacenter=consul_datacenter,
                        secret_token=consul_token,
                        address=consul_address,
                    ),
                    lambda: check.operator_is_ready(session=session, url=operator_url),
                ),
                patience=patience,
                tell=tell,
            )

    sys.exit(0 if asyncio.run(look()) else 1)


main.add_command(cleanup)
main.add_command(lint)
main.add_command(registrations)
main.add_command(render)
main.add_command(snapshot)

if __name__ == "__main__":
    main()
