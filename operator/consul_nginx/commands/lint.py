"""``consul-nginx lint``: what the operator would say to manifests, without a cluster or Consul."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import click

from consul_nginx.commands.declared import declarations
from consul_nginx.commands.judgement import Verdict, judge
from consul_nginx.commands.manifests import ManifestError, read_manifests
from consul_nginx.commands.options import (
    ManifestCommand,
    manifest_options,
    output_option,
    policy_option,
    settings_option,
)
from consul_nginx.commands.own_templates import OwnTexts, is_template, own_texts
from consul_nginx.commands.placeholders import Known, shown
from consul_nginx.commands.pods import Found, makes_pods, pods_in
from consul_nginx.commands.tls_secrets import is_tls_secret, tls_secrets, verdicts_on
from consul_nginx.commands.users_secrets import (
    is_users_secret,
    users_secrets_in,
    verdicts_on_users,
)
from consul_nginx.commands.verdicts import as_json, as_table, exit_code, skipped
from consul_nginx.model.facts import Question
from consul_nginx.model.policy import Policy
from consul_nginx.model.registration import RegistrationSettings
from consul_nginx.model.template import OwnText
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.registrar.wanted import wanted
from consul_nginx.registrar.warnings import costs_registration


@click.command("lint", cls=ManifestCommand, short_help="Say of manifests what the operator would.")
@manifest_options
@policy_option
@settings_option
@output_option("How to print the verdicts.")
def lint(
    *,
    filenames: tuple[str, ...],
    namespace: str,
    policy: Policy,
    settings: RegistrationSettings,
    output: str,
) -> None:
    """Say of LoadBalancers, ServiceMappings and Pods in manifests what the operator would.

    Give it all that belongs together. Without metadata.creationTimestamp an object is younger than
    those that have one; among equals namespace and name decide who wins a conflict.

    Exits with 2 when an object is rejected, with 1 when a file is not what it should be.
    """
    try:
        declared = declarations(read_manifests(filenames), namespace=namespace)
        pods = pods_in(declared.others, namespace=namespace)
        secrets = tls_secrets(declared.others, namespace=namespace)
        users = users_secrets_in(
            declared.others, mappings=declared.valid_mappings, namespace=namespace
        )
        templates = asyncio.run(
            own_texts(declared, policy=policy, namespace=namespace, ask=_nobody)
        )
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    verdicts = (
        *judge(declared, policy=policy, templates=_without_waiting(templates)).verdicts,
        *verdicts_on(secrets),
        *verdicts_on_users(users),
        *(_of_pod(found, settings=settings) for found in pods),
    )
    if not verdicts:
        raise click.ClickException(
            f"{', '.join(filenames)}: no LoadBalancer, ServiceMapping or Pod in it"
        )
    by_users = partial(is_users_secret, secrets=users, namespace=namespace)
    used = (makes_pods, is_tls_secret, by_users, is_template)
    others = (item for item in declared.others if not any(by(item) for by in used))
    for line in skipped(others):
        click.echo(line, err=True)
    click.echo(as_json(verdicts) if output == "json" else as_table(verdicts))
    sys.exit(exit_code(verdicts))


async def _nobody(_question: Question) -> None:
    """There is no Consul: a template's text is not known then, but what is wrong with it is."""


def _without_waiting(templates: OwnTexts) -> OwnTexts:
    """As if Consul had answered everything: whatever the text would be, it is in force."""
    return {
        ref: tuple(
            OwnText(use=one.use, text="")
            if one.problem is not None and one.problem.reason == "TemplatePending"
            else one
            for one in own
        )
        for ref, own in templates.items()
    }


def _of_pod(found: Found, *, settings: RegistrationSettings) -> Verdict:
    """Rejected when one of its ports is: whoever wrote the annotation wants it registered."""
    pod = Known().complete(found.pod)
    asked = wanted(pod=pod, settings=settings)
    names = dict.fromkeys(item.content.name for item in asked.registrations)
    said = [*found.remarks, *(f"{one.reason}: {one.message}" for one in asked.warnings)]
    refusal = next(filter(costs_registration, asked.warnings), None)
    return Verdict(
        file=found.file,
        kind=found.kind,
        ref=found.ref,
        accepted=Condition(
            type="Accepted",
            status=Status.TRUE if refusal is None else Status.FALSE,
            reason="Accepted" if refusal is None else refusal.reason,
            message=shown("; ".join((f"registers {', '.join(names) or 'nothing'}", *said))),
        ),
    )
