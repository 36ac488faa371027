"""``consul-nginx render``: the files that nginx would get, without a cluster or Consul."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from consul_nginx.commands.declared import SERVICE_MAPPING, Declarations, declarations
from consul_nginx.commands.folders import (
    Files,
    FolderError,
    difference,
    read_files,
    write_files,
)
from consul_nginx.commands.judgement import Judgement, Verdict, judge
from consul_nginx.commands.manifests import ManifestError, read_manifests
from consul_nginx.commands.nginx_test import Result, Tested, try_bundle
from consul_nginx.commands.options import (
    ManifestCommand,
    manifest_options,
    output_option,
    policy_option,
)
from consul_nginx.commands.own_templates import is_template, own_texts
from consul_nginx.commands.snapshots import Recorded, SnapshotError, read_snapshot
from consul_nginx.commands.tables import printable, table
from consul_nginx.commands.tls_secrets import (
    TlsSecrets,
    certificates_of,
    content_of_file,
    findings_on,
    is_among,
    is_tls_secret,
    tls_secrets,
    verdicts_on,
)
from consul_nginx.commands.users_secrets import (
    UsersSecrets,
    is_users_secret,
    users_of,
    users_secrets_in,
    verdicts_on_users,
)
from consul_nginx.commands.verdicts import as_json, exit_code, line, skipped
from consul_nginx.model.authorities import Authority
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.policy import Policy
from consul_nginx.model.verdict import rejected
from consul_nginx.nginx.render import render as render_bundle
from consul_nginx.plan.authorities import Findings, authorities_of
from consul_nginx.plan.certificates import Certificates
from consul_nginx.plan.load_balancer import Plan, plan_load_balancer
from consul_nginx.plan.status import paused


@dataclass(frozen=True, kw_only=True)
class _Rendered:
    """What the nginx of one LoadBalancer would get.

    ``folder`` is where, below the one that is named: empty, or with a slash at its end.
    """

    verdict: Verdict
    paused: bool
    certificates: Certificates
    plan: Plan
    bundle: Bundle
    folder: str


@click.command(
    "render", cls=ManifestCommand, short_help="Write the files that nginx would get for manifests."
)
@manifest_options
@click.option(
    "--snapshot",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON with what Consul says, as `consul-nginx snapshot` records it.",
)
@click.option(
    "--datacenter",
    default="",
    help="Datacenter of backends that name none; needed when the snapshot has several.",
)
@policy_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the files; those of an earlier call are replaced. Each of several "
    "LoadBalancers has its own in NAMESPACE/NAME. Without it nothing is written.",
)
@click.option(
    "--diff",
    "compared",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Print what is different from the files in that folder, as they were before.",
)
@click.option("--check", is_flag=True, help="Have nginx test the files (nginx -t).")
@click.option("--nginx", default="nginx", show_default=True, help="Program that --check runs.")
@output_option("json: a list of the rejected objects, and all else on standard error.")
def render(
    *,
    filenames: tuple[str, ...],
    namespace: str,
    snapshot: Path,
    datacenter: str,
    policy: Policy,
    out: Path | None,
    compared: Path | None,
    check: bool,
    nginx: str,
    output: str,
) -> None:
    """Write the files that nginx would get for LoadBalancers and ServiceMappings in manifests.

    Give it all that belongs together. Without metadata.creationTimestamp an object is younger than
    those that have one; among equals namespace and name decide who wins a conflict. There is no
    earlier form that would be served instead of a rejected object.

    Exits with 2 when an object is rejected, by us or by nginx, and the files hold the rest; with 1
    when a file is not what it should be.
    """
    try:
        declared = _declared(filenames, namespace=namespace)
        secrets = tls_secrets(declared.others, namespace=namespace)
        recorded = read_snapshot(snapshot, own=datacenter)
        templates = asyncio.run(
            own_texts(declared, policy=policy, namespace=namespace, ask=recorded.answer)
        )
        judgement = judge(declared, policy=policy, templates=templates)
        authorities = findings_on(_authorities(declared), declared.others, namespace=namespace)
        users = users_secrets_in(
            declared.others, mappings=declared.valid_mappings, namespace=namespace
        )
        rendered = tuple(_render(declared, judgement, recorded, secrets, authorities, users))
        files = {f"{one.folder}{name}": text for one in rendered for name, text in _files(one)}
        changes = _changes(files, compared, out) if compared is not None else ""
        if out is not None:
            write_files(out, files)
    except (ManifestError, FolderError, SnapshotError) as error:
        raise click.ClickException(str(error)) from error
    raws = {
        **{ref: secret.raw for ref, secret in secrets.items()},
        **{ref: secret.raw for ref, secret in users.items()},
    }
    tests = tuple((one, _try(one, program=nginx, secrets=raws)) for one in rendered if check)
    judged = (*verdicts_on(secrets), *verdicts_on_users(users))
    unusable = (verdict for verdict in judged if not verdict.accepted.is_true)
    refused = (*judgement.rejected, *unusable, *_refusals(tests))
    as_list = output == "json"
    click.echo(as_json(refused) if as_list else _table(rendered, out=out))
    click.echo(changes, nl=False, err=as_list)
    others = skipped(
        item
        for item in declared.others
        if not is_tls_secret(item)
        and not is_template(item)
        and not is_among(authorities, item, namespace=namespace)
        and not is_users_secret(item, users, namespace=namespace)
    )
    for remark in (*others, *map(line, refused), *_of_tls(rendered), *_remarks(tests)):
        click.echo(remark, err=True)
    sys.exit(exit_code(refused))


def _declared(filenames: tuple[str, ...], *, namespace: str) -> Declarations:
    declared = declarations(read_manifests(filenames), namespace=namespace)
    if not declared.load_balancers and not declared.mappings:
        raise ManifestError(f"{', '.join(filenames)}: no LoadBalancer or ServiceMapping in it")
    return declared


def _authorities(declared: Declarations) -> set[Authority]:
    balancers = (item.value for item in declared.load_balancers)
    return {
        authority
        for balancer in (None, *(item for item in balancers if isinstance(item, LoadBalancer)))
        for authority in authorities_of(load_balancer=balancer, mappings=declared.valid_mappings)
    }


def _render(
    declared: Declarations,
    judgement: Judgement,
    recorded: Recorded,
    secrets: TlsSecrets,
    authorities: Findings,
    users: UsersSecrets,
) -> Iterator[_Rendered]:
    """One after the other; a LoadBalancer without any other needs no folder of its own."""
    alone = len(declared.load_balancers) == 1
    for judged in judgement.judged:
        certificates = certificates_of(judged.load_balancer, secrets, authorities)
        plan = plan_load_balancer(
            load_balancer=judged.load_balancer,
            acceptance=judged.acceptance,
            snapshot={query: recorded.observe(query) for query in judged.acceptance.queries},
            certificates=certificates.usable,
            authorities=authorities,
            users=users_of(judged.load_balancer, judged.acceptance.used.values(), users),
            own=judged.own,
        )
        yield _Rendered(
            verdict=judged.verdict,
            paused=judged.load_balancer.paused,
            certificates=certificates,
            plan=plan,
            bundle=_bundle(plan, Layout()),
            folder="" if alone else f"{judged.verdict.ref}/",
        )


def _bundle(plan: Plan, layout: Layout) -> Bundle:
    return render_bundle(configuration=plan.configuration, layout=layout)


def _files(rendered: _Rendered) -> Iterable[tuple[str, str]]:
    return rendered.bundle.files.items()


def _changes(files: Files, folder: Path, out: Path | None) -> str:
    names = (str(folder), str(out or "rendered"))
    return difference(before=read_files(folder), after=files, names=names)


def _try(
    rendered: _Rendered, *, program: str, secrets: Mapping[ObjectRef, Mapping[str, Any]]
) -> Tested:
    return try_bundle(
        partial(_bundle, rendered.plan),
        program=program,
        content=partial(content_of_file, secrets=secrets, namespace=rendered.verdict.ref.namespace),
    )


def _of_tls(rendered: Iterable[_Rendered]) -> Iterator[str]:
    for one in rendered:
        for words in (*one.certificates.problems, *one.certificates.remarks):
            yield printable(f"{one.verdict.source}: {words}")


def _refusals(tests: Iterable[tuple[_Rendered, Tested]]) -> Iterator[Verdict]:
    for rendered, tested in tests:
        if tested.result is Result.REFUSED:
            yield replace(
                rendered.verdict, accepted=rejected(reason="Rejected", message=tested.words)
            )


def _remarks(tests: Iterable[tuple[_Rendered, Tested]]) -> Iterator[str]:
    for rendered, tested in tests:
        if tested.result is Result.PASSED:
            yield f"checked: {rendered.verdict.source}: nginx takes it"
        if tested.result is Result.NOT_DONE:
            yield f"not checked: {rendered.verdict.source}: {tested.words}"


def _table(rendered: Iterable[_Rendered], *, out: Path | None) -> str:
    """What nginx gets; what is rejected, and why, is told elsewhere."""
    rows = [("OBJECT", "RESULT")]
    for one in rendered:
        where = f" in {out / one.folder}" if out is not None else ""
        hint = f"; {paused().message}" if one.paused else ""
        rows.append((one.verdict.source, f"{len(one.bundle.files)} files{where}{hint}"))
        rows += [
            (f"{SERVICE_MAPPING} {mapping.meta.ref}", verdict.resolved.message)
            for mapping, verdict in one.plan.mappings
            if verdict.accepted.is_true
        ]
    return table(rows)
