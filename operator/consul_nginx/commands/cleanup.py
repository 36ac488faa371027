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

from consul_nginx.commands.options import consul_options
from consul_nginx.consul.agents import DEFAULT_PORT, AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.cleanup import Cleanup, Leftover
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.synthetic import CatalogRegistrations
from consul_nginx.consul.transport import PooledTransport

_HEADINGS = ("MODE", "NODE", "SERVICE", "ID", "RESULT")


def _cluster(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+", value):
        raise click.BadParameter(
            f"{value!r} is no name of a cluster: it has lower-case letters, digits, '.' and '-'; "
            "write what registration.cluster is in the chart's values",
            param_hint=parameter.opts[0],
        )
    return value


@click.command("cleanup")
@consul_options
@click.option(
    "--cluster",
    required=True,
    callback=_cluster,
    help="Name of the cluster whose registrations are removed; others' are left alone.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to list what is removed.",
)
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
    cluster: str,
    dry_run: bool,
    output: str,
    agent_scheme: str,
    agent_port: int,
) -> None:
    """Remove what a cluster has registered in Consul; exit 1 when something stays.

    Stop the operator first: it registers again what it misses.
    """
    connect = partial(_connect, ca_file=consul_ca_file)

    async def clean() -> list[Leftover]:
        agents = AgentRegistrations(
            cluster=cluster,
            connect=connect,
            secret_token=consul_token,
            scheme=agent_scheme,
            port=agent_port,
        )
        try:
            async with connect(consul_address) as http:
                api = Api(http=http, datacenter=consul_datacenter, secret_token=consul_token)
                everything = Cleanup(
                    cluster=cluster,
                    api=api,
                    catalog=CatalogRegistrations(cluster=cluster, api=api),
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
    click.echo(_as_json(found) if output == "json" else _as_table(found, dry_run=dry_run))
    sys.exit(1 if any(leftover.problem for leftover in found) else 0)


def _connect(address: str, *, ca_file: Path | None) -> PooledTransport:
    return PooledTransport(address=address, ca_file=ca_file)


def _as_json(found: Iterable[Leftover]) -> str:
    return json.dumps([asdict(leftover) for leftover in found], indent=2)


def _as_table(found: Iterable[Leftover], *, dry_run: bool) -> str:
    done = "would be removed" if dry_run else "removed"
    rows = [
        tuple(
            map(
                _shown,
                (one.mode, one.node, one.service, one.id, one.problem or done),
            )
        )
        for one in found
    ]
    if not rows:
        return "nothing of this cluster's is registered"
    table = [_HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def _shown(text: str) -> str:
    """What Consul holds may be anything; a terminal obeys some of it."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
