"""Secrets with users among manifests, judged as the operator judges those of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consul_nginx.commands.judgement import Verdict
from consul_nginx.commands.manifests import Manifest, ref_of
from consul_nginx.commands.tls_secrets import NOT_HERE, SECRET, stored
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.users import UsersFinding
from consul_nginx.model.verdict import accepted, rejected
from consul_nginx.plan.users import Users, resolve_users, users_secrets
from consul_nginx.resources.users_secret import UsersSecretError, parse_users_secret


@dataclass(frozen=True, kw_only=True)
class UsersSecret:
    """One of them; ``finding`` has nothing secret, ``raw`` has it all."""

    file: str
    raw: Mapping[str, Any]
    finding: UsersFinding


UsersSecrets = Mapping[ObjectRef, UsersSecret]


def users_secrets_in(
    manifests: Iterable[Manifest], *, mappings: Iterable[ServiceMapping], namespace: str
) -> dict[ObjectRef, UsersSecret]:
    """Those that ``mappings`` name; ``namespace`` is that of Secrets which name none."""
    named = {
        ObjectRef(namespace=mapping.meta.ref.namespace, name=name)
        for mapping in mappings
        for name in users_secrets([mapping])
    }
    return {
        ref: UsersSecret(file=item.file, raw=raw, finding=_finding(raw))
        for item in manifests
        if item.kind == SECRET and (ref := ref_of(item.raw, namespace=namespace)) in named
        for raw in [stored(item.raw, ref=ref)]
    }


def is_users_secret(manifest: Manifest, secrets: UsersSecrets, *, namespace: str) -> bool:
    """Whether a manifest is one of them."""
    return manifest.kind == SECRET and ref_of(manifest.raw, namespace=namespace) in secrets


def users_of(
    load_balancer: LoadBalancer, mappings: Iterable[ServiceMapping], secrets: UsersSecrets
) -> Users:
    """Whom its mappings let in; nothing is remembered of what Secrets held before."""
    missing = UsersFinding(problem=NOT_HERE)
    namespace = load_balancer.meta.ref.namespace
    findings = {
        name: secret.finding
        if (secret := secrets.get(ObjectRef(namespace=namespace, name=name)))
        else missing
        for name in users_secrets(mappings)
    }
    return resolve_users(findings=findings, remembered={})


def verdicts_on_users(secrets: UsersSecrets) -> Iterator[Verdict]:
    """Whether nginx could use them."""
    for ref, secret in secrets.items():
        problem = secret.finding.problem
        yield Verdict(
            file=secret.file,
            kind=SECRET,
            ref=ref,
            accepted=rejected(reason="InvalidSecretRef", message=problem)
            if problem
            else accepted(),
        )


def _finding(raw: Mapping[str, Any]) -> UsersFinding:
    try:
        return UsersFinding(file=parse_users_secret(raw))
    except UsersSecretError as error:
        return UsersFinding(problem=str(error))
