"""``consul-nginx snapshot``: what Consul says now, in a file for ``consul-nginx render``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from consul_nginx.commands.declared import SERVICE_MAPPING, Declarations, declarations
from consul_nginx.commands.manifests import ManifestError, read_manifests
from consul_nginx.commands.options import (
    ManifestCommand,
    consul_options,
    optional_manifest_options,
)
from consul_nginx.commands.recording import Recorder
from consul_nginx.commands.recording_templates import asked_by_templates, services_of, with_facts
from consul_nginx.commands.tables import printable
from consul_nginx.consul.api import Api
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.plan.load_balancer import bound
from consul_nginx.resources.base import Invalid, invalid


@click.command("snapshot", cls=ManifestCommand, short_help="Record what Consul knows, for render.")
@consul_options
@optional_manifest_options
@click.option(
    "--service",
    "services",
    metavar="NAME",
    multiple=True,
    help="Service to record; can be repeated. Without it, and without manifests: all.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; by default standard output.",
)
def snapshot(
    *,
    consul_address: str,
    consul_datacenter: str | None,
    consul_token: str | None,
    consul_ca_file: Path | None,
    filenames: tuple[str, ...],
    namespace: str,
    services: tuple[str, ...],
    out: Path | None,
) -> None:
    """Record the instances that Consul knows of services, for `consul-nginx render`.

    With manifests: of the services that ServiceMappings in them name, whether they would be
    accepted or not, and all that templates in them ask, keys of the KV store included. One Consul
    is asked, whatever address a LoadBalancer names.
    """
    declared = _declared(filenames, namespace=namespace)
    queries = _of_mappings(declared)
    named = [_place(query) for query in queries] + [("", name) for name in services]
    near = _near(queries)

    async def record() -> dict[str, Any]:
        async with PooledTransport(address=consul_address, ca_file=consul_ca_file) as http:
            recorder = Recorder(
                api=Api(http=http, datacenter=consul_datacenter, secret_token=consul_token)
            )
            client = ConsulClient(
                http=http, datacenter=consul_datacenter, secret_token=consul_token
            )
            asked = await asked_by_templates(declared, client=client, namespace=namespace)
            wanted = [*named, *services_of(asked)]
            if filenames and not wanted and not asked:
                raise click.ClickException(
                    f"{', '.join(filenames)}: no ServiceMapping and no template that can be used"
                )
            nothing = not wanted and not asked
            recorded = await recorder.entries(
                await _all(recorder) if nothing else wanted, near=near
            )
            return with_facts(recorded, asked, own=await recorder.datacenter() if asked else "")

    try:
        text = json.dumps(asyncio.run(record()), indent=1) + "\n"
        if out is None:
            click.echo(text, nl=False)
        else:
            out.write_text(text, encoding="ascii")
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    except ConsulError as error:
        raise click.ClickException(f"Consul at {consul_address}: {error}") from error
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from error


async def _all(recorder: Recorder) -> list[tuple[str, str]]:
    names, filtered = await recorder.names()
    if filtered:
        click.echo("warning: the ACL token may not read every service: some are missing", err=True)
    # What can't be named in a path can't be named by a ServiceMapping either.
    unsafe = [name for name in names if "/" in name or not name.isprintable()]
    if unsafe:
        click.echo(f"skipped: services {', '.join(map(ascii, unsafe))}: unsafe names", err=True)
    return [("", name) for name in names if name not in unsafe]


def _declared(filenames: tuple[str, ...], *, namespace: str) -> Declarations:
    try:
        return declarations(read_manifests(filenames), namespace=namespace)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error


def _of_mappings(declared: Declarations) -> list[ServiceQuery]:
    for item in declared.mappings:
        if isinstance(item.value, Invalid):
            what = f"{SERVICE_MAPPING} {item.value.meta.ref}: {invalid(item.value).message}"
            click.echo(printable(f"skipped: {what}"), err=True)
    return list(_queries(declared))


def _place(query: ServiceQuery) -> tuple[str, str]:
    return query.datacenter, query.service


def _near(queries: list[ServiceQuery]) -> dict[tuple[str, str], str]:
    """The node from which on each service is sorted; an answer has one order only."""
    nodes: dict[tuple[str, str], set[str]] = {}
    for query in queries:
        if query.near:
            nodes.setdefault(_place(query), set()).add(query.near)
    for (_, service), found in nodes.items():
        if len(found) > 1:
            click.echo(
                f"warning: {service} is wanted near {', '.join(sorted(found))}: a snapshot has one "
                "order for all; put the nearest entries first by hand",
                err=True,
            )
    return {place: node for place, [node, *others] in nodes.items() if not others}


def _queries(declared: Declarations) -> Iterator[ServiceQuery]:
    """What the mappings ask, in the datacenter of their LoadBalancer when they name none."""
    balancers = {
        item.value.meta.ref: item.value
        for item in declared.load_balancers
        if isinstance(item.value, LoadBalancer)
    }
    for item in declared.mappings:
        if isinstance(item.value, ServiceMapping):
            balancer = balancers.get(item.value.load_balancer)
            mapping = item.value
            if balancer is not None:
                mapping = bound(mapping=mapping, load_balancer=balancer)
            yield from mapping.queries
