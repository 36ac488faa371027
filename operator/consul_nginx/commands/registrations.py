"""``consul-nginx registrations``: what Pods in manifests would register, and what is wrong."""

from __future__ import annotations

import ipaddress
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import click

from consul_nginx.commands.manifests import ManifestError, read_manifests
from consul_nginx.commands.options import (
    ManifestCommand,
    manifest_options,
    output_option,
    settings_option,
)
from consul_nginx.commands.placeholders import Known, shown
from consul_nginx.commands.pods import TEMPLATES, Found, pods_in
from consul_nginx.commands.tables import table
from consul_nginx.model.names import CLUSTER_NAME
from consul_nginx.model.registration import Check, Mode, Registration, RegistrationSettings
from consul_nginx.registrar.wanted import wanted
from consul_nginx.registrar.warnings import costs_registration

# 2 says that a port is refused; so what is wrong with files and values is 1.
_REFUSED = 2


def _ip(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError as error:
        raise click.ClickException(f"{parameter.opts[0]}: {error}") from error


def _cluster(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(CLUSTER_NAME, value):
        raise click.ClickException(
            f"{parameter.opts[0]}: {value!r} is not a cluster's name: lower-case letters, digits, "
            ". and -, at most 63"
        )
    return value


@click.command(
    "registrations", cls=ManifestCommand, short_help="Print what Pods in manifests would register."
)
@manifest_options
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=None,
    help="Where it would be registered; by default what --settings-file says, else catalog.",
)
@output_option("json: a list of objects with Consul's own keys, and warnings on standard error.")
@click.option("--pod-ip", default="", callback=_ip, help="Address of Pods that have none.")
@click.option("--node-ip", default="", callback=_ip, help="Address of their node.")
@click.option("--node-name", default="", help="Name of their node.")
@click.option("--cluster-name", default="", callback=_cluster, help="Cluster that they run in.")
@settings_option
@click.option("--all-pods", is_flag=True, help="As in a namespace whose Pods need no annotation.")
def registrations(
    *,
    filenames: tuple[str, ...],
    mode: str | None,
    output: str,
    namespace: str,
    pod_ip: str,
    node_ip: str,
    node_name: str,
    cluster_name: str,
    settings: RegistrationSettings,
    all_pods: bool,
) -> None:
    """Print what Pods would have registered, without a cluster or Consul.

    Exits with 2 when a port can't be registered, with 1 when a file is not what it should be.
    """
    chosen = replace(
        settings,
        mode=Mode(mode) if mode else settings.mode,
        cluster=cluster_name or settings.cluster,
    )
    known = Known(pod_ip=pod_ip, node_ip=node_ip, node_name=node_name)
    found: list[Registration] = []
    warnings: list[str] = []
    refused = False
    for item in _read(filenames, namespace=namespace):
        asked = wanted(
            pod=known.complete(item.pod),
            settings=chosen,
            included=all_pods,
            most_warnings=None,
        )
        found += asked.registrations
        warnings += [f"{item.source}: {remark}" for remark in item.remarks]
        warnings += [f"{item.source}: {w.reason}: {shown(w.message)}" for w in asked.warnings]
        refused = refused or any(map(costs_registration, asked.warnings))
    if output == "json":
        click.echo(json.dumps([consul_object(item) for item in found], indent=2))
    else:
        click.echo(_table(found))
    for line in warnings:
        click.echo(f"warning: {line}", err=output == "json")
    sys.exit(_REFUSED if refused else 0)


def consul_object(item: Registration) -> dict[str, Any]:
    """A registration with Consul's own keys; ``Check`` is the one that CHECK_* asks for.

    They are the same for all, but that one which asks for it has ``EnableTagOverride`` too.
    """
    content = item.content
    found: dict[str, Any] = {
        "ID": content.id,
        "Name": content.name,
        "Address": content.address,
        "Port": content.port,
        "Tags": list(content.tags),
        "Meta": dict(content.meta),
        "Weights": {"Passing": content.weight, "Warning": 1},
        **({"EnableTagOverride": True} if content.enable_tag_override else {}),
        "Check": item.check and {**item.check.definition, "Status": item.check.initial_status},
    }
    readable: dict[str, Any] = shown(found)
    return readable


def _read(filenames: Iterable[str], *, namespace: str) -> tuple[Found, ...]:
    try:
        found = pods_in(read_manifests(filenames), namespace=namespace)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if not found:
        where = ", ".join("standard input" if name == "-" else name for name in filenames)
        raise click.ClickException(f"{where}: no Pod in it, and none of {', '.join(TEMPLATES)}")
    return found


def _table(found: Iterable[Registration]) -> str:
    rows = [("NAME", "ADDRESS", "PORT", "TAGS", "CHECK", "ID")]
    for item in found:
        content = item.content
        tags = ",".join(tag.replace(",", "\\,") for tag in content.tags) or "-"
        row = (content.name, content.address, str(content.port), tags, _check(item.check))
        rows.append(tuple(map(shown, (*row, content.id))))
    return table(rows)


def _check(check: Check | None) -> str:
    if check is None:
        return "-"
    definition = check.definition
    kind = next(key for key in ("HTTP", "TCP", "GRPC", "TTL") if key in definition)
    what = definition[kind] if kind == "HTTP" else f"{kind} {definition[kind]}"
    return f"{what} every {definition['Interval']}" if "Interval" in definition else what
