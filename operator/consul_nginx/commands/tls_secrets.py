"""Secrets with certificates among manifests, judged as the operator judges those of a cluster."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consul_nginx.commands.judgement import Verdict
from consul_nginx.commands.manifests import Manifest, ManifestError, mapping_of, ref_of
from consul_nginx.model.authorities import Authority, AuthorityFinding, AuthorityKind
from consul_nginx.model.certificates import SecretFinding
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.secret_files import SecretFile, content_of
from consul_nginx.model.verdict import accepted, rejected
from consul_nginx.plan.authorities import Findings, problems_of_clients
from consul_nginx.plan.certificates import Certificates, resolve_certificates, secrets_of
from consul_nginx.resources.authorities import AuthoritiesError, parse_authorities
from consul_nginx.resources.tls_secret import TYPE, TlsSecretError, parse_tls_secret

SECRET = "Secret"  # noqa: S105 - a kind

NOT_HERE = "it is not among the manifests; add it by -f"


@dataclass(frozen=True, kw_only=True)
class TlsSecret:
    """One of them; ``finding`` has nothing secret, ``raw`` has it all."""

    file: str
    raw: Mapping[str, Any]
    finding: SecretFinding


TlsSecrets = Mapping[ObjectRef, TlsSecret]


def is_tls_secret(manifest: Manifest) -> bool:
    """Whether it is one that listeners can name."""
    return manifest.kind == SECRET and manifest.raw.get("type") == TYPE


def tls_secrets(manifests: Iterable[Manifest], *, namespace: str) -> dict[ObjectRef, TlsSecret]:
    """Those among ``manifests``; ``namespace`` is that of Secrets which name none.

    Raises ``ManifestError``.
    """
    found: dict[ObjectRef, TlsSecret] = {}
    for manifest in filter(is_tls_secret, manifests):
        try:
            ref = ref_of(manifest.raw, namespace=namespace)
            raw = stored(manifest.raw, ref=ref)
        except ManifestError as error:
            raise ManifestError(f"{manifest.file}: {SECRET}: {error}") from error
        found[ref] = TlsSecret(file=manifest.file, raw=raw, finding=_finding(raw))
    return found


def certificates_of(
    load_balancer: LoadBalancer, secrets: TlsSecrets, authorities: Findings
) -> Certificates:
    """What its listeners show; nothing is remembered of what Secrets held before."""
    namespace = load_balancer.meta.ref.namespace
    missing = SecretFinding(problem=NOT_HERE)
    findings = {
        name: secret.finding
        if (secret := secrets.get(ObjectRef(namespace=namespace, name=name)))
        else missing
        for name in secrets_of(load_balancer)
    }
    return resolve_certificates(
        load_balancer=load_balancer,
        findings=findings,
        remembered={},
        now=time.time(),
        more_problems=problems_of_clients(load_balancer, authorities),
    )


def findings_on(
    authorities: Iterable[Authority], manifests: Iterable[Manifest], *, namespace: str
) -> dict[Authority, AuthorityFinding]:
    """What mappings verify their backends by, as far as it is among ``manifests``."""
    held = {
        (manifest.kind, ref_of(manifest.raw, namespace=namespace)): manifest.raw
        for manifest in manifests
        if manifest.kind in set(AuthorityKind)
    }
    return {item: _authority(item, held) for item in authorities}


def is_among(authorities: Iterable[Authority], manifest: Manifest, *, namespace: str) -> bool:
    """Whether a manifest is one of them."""
    if manifest.kind not in set(AuthorityKind):
        return False
    ref = ref_of(manifest.raw, namespace=namespace)
    kind = AuthorityKind(manifest.kind)
    return Authority(kind=kind, namespace=ref.namespace, name=ref.name) in authorities


def _authority(
    item: Authority, held: Mapping[tuple[str, ObjectRef], Mapping[str, Any]]
) -> AuthorityFinding:
    ref = ObjectRef(namespace=item.namespace, name=item.name)
    raw = held.get((item.kind, ref))
    if raw is None:
        return AuthorityFinding(problem=NOT_HERE)
    held_raw = stored(raw, ref=ref) if item.kind is AuthorityKind.SECRET else raw
    try:
        return AuthorityFinding(pem=parse_authorities(kind=item.kind, raw=held_raw))
    except AuthoritiesError as error:
        return AuthorityFinding(problem=str(error))


def content_of_file(
    file: SecretFile, *, secrets: Mapping[ObjectRef, Mapping[str, Any]], namespace: str
) -> bytes:
    """What the agent would make of a Secret; ``secrets`` are as the API server returns them."""
    secret = secrets[ObjectRef(namespace=namespace, name=file.secret)]
    return content_of(data=secret["data"], keys=file.kind.keys)


def verdicts_on(secrets: TlsSecrets) -> Iterator[Verdict]:
    """Whether nginx could use them."""
    for ref, secret in secrets.items():
        problem = secret.finding.problem
        yield Verdict(
            file=secret.file,
            kind=SECRET,
            ref=ref,
            accepted=rejected(reason="InvalidCertificateRef", message=problem)
            if problem
            else accepted(),
        )


def stored(raw: Mapping[str, Any], *, ref: ObjectRef) -> dict[str, Any]:
    """A Secret as the API server would return it: ``stringData`` is in ``data``."""
    plain = {
        key: b64encode(str(value).encode()).decode()
        for key, value in mapping_of(raw, "stringData").items()
    }
    return {
        "metadata": {"namespace": ref.namespace, "name": ref.name},
        "type": raw.get("type"),
        "data": {**mapping_of(raw, "data"), **plain},
    }


def _finding(raw: Mapping[str, Any]) -> SecretFinding:
    try:
        return SecretFinding(certificate=parse_tls_secret(raw))
    except TlsSecretError as error:
        return SecretFinding(problem=str(error))
