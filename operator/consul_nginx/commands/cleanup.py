"""``consul-nginx cleanup``: take what a cluster has registered out of Consul."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from consul_nginx.commands.options import consul_options, object_ref, output_option
from consul_nginx.commands.tables import table
from consul_nginx.consul.agents import DEFAULT_PORT, AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.cleanup import Cleanup, Leftover
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.synthetic import CatalogRegistrations
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.kube.client import connect as connect_to_kubernetes
from consul_nginx.kube.errors import KubeError
from consul_nginx.kube.identity import cluster_identity
from consul_nginx.kube.stopping import stop_deployment
from consul_nginx.model.kubernetes import ObjectRef

_HEADINGS = ("MODE", "NODE", "SERVICE", "ID", "RESULT")


def _cluster(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z0-9.-]+", value):
        raise click.BadParameter(
            f"{value!r} is no name of a cluster: it has lower-case letters, digits, '.' and '-'; "
            "write what registration.clusterName is in the chart's values",
            param_hint=parameter.opts[0],
        )
    return value


@click.command("cleanup", short_help="Remove what a cluster has registered in Consul.")
@consul_options
@click.option(
    "--cluster",
    callback=_cluster,
    help="Name of the cluster whose registrations are removed; others' are left alone. By default "
    "the identity of the Kubernetes cluster that one is connected to.",
)
@click.option(
    "--stop-operator",
    metavar="NAMESPACE/NAME",
    callback=object_ref,
    help="Deployment of the operator, which is stopped first, for good: it registers again what it "
    "misses.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@output_option("How to list what is removed.")
@click.option(
    "--agent-scheme",
    type=click.Choice(["http", "https"]),
    default="http",
    show_default=True,
    help="How Consul's agents are asked, in mode agent.",
)
@click.option(
    "--agent-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of Consul's agents, in mode agent.",
)
def cleanup(
    *,
    consul_address: str,
    consul_datacenter: str | None,
    consul_token: str | None,
    consul_ca_file: Path | None,
    cluster: str | None,
    stop_operator: ObjectRef | None,
    dry_run: bool,
    output: str,
    agent_scheme: str,
    agent_port: int,
) -> None:
    """Remove what a cluster has registered in Consul; exit 1 when something stays."""
    connect = partial(_connect, ca_file=consul_ca_file)

    async def clean() -> list[Leftover]:
        name = cluster or await _identity()
        if stop_operator is not None and not dry_run:
            async with connect_to_kubernetes() as kube:
                await stop_deployment(kube=kube, ref=stop_operator)
        agents = AgentRegistrations(
            cluster=name,
            connect=connect,
            secret_token=consul_token,
            scheme=agent_scheme,
            port=agent_port,
        )
        try:
            async with connect(consul_address) as http:
                api = Api(http=http, datacenter=consul_datacenter, secret_token=consul_token)
                everything = Cleanup(
                    cluster=name,
                    api=api,
                    catalog=CatalogRegistrations(cluster=name, api=api),
                    agents=agents,
                    dry_run=dry_run,
                )
                return [leftover async for leftover in everything.run()]
        finally:
            await agents.close()

    try:
        found = asyncio.run(clean())
    except ConsulError as error:
        raise click.ClickException(f"Consul at {consul_address}: {error}") from error
    except KubeError as error:
        raise click.ClickException(f"Kubernetes: {str(error).strip()}") from error
    click.echo(_as_json(found) if output == "json" else _as_table(found, dry_run=dry_run))
    sys.exit(1 if any(leftover.problem for leftover in found) else 0)


async def _identity() -> str:
    async with connect_to_kubernetes() as kube:
        return await cluster_identity(kube)


def _connect(address: str, *, ca_file: Path | None) -> PooledTransport:
    return PooledTransport(address=address, ca_file=ca_file)


def _as_json(found: Iterable[Leftover]) -> str:
    return json.dumps([asdict(leftover) for leftover in found], indent=2)


def _as_table(found: Iterable[Leftover], *, dry_run: bool) -> str:
    done = "would be removed" if dry_run else "removed"
    rows = [(one.mode, one.node, one.service, one.id, one.problem or done) for one in found]
    if not rows:
        return "nothing of this cluster's is registered"
    return table((_HEADINGS, *rows))
