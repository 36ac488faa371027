"""Which certificates a LoadBalancer's listeners have, and what is wrong with the others. Pure.

A Secret that can't be used leaves the certificate in force that it held last; where there never was
one, handshakes that need it fail, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consul_nginx.model.certificates import Certificate, SecretFinding
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.listener import Listener
from consul_nginx.model.verdict import Condition, Status

_DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """``usable`` by the name of their Secret; ``problems`` and ``remarks`` in words for people."""

    usable: Mapping[str, Certificate] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


NONE = Certificates()


def secrets_of(load_balancer: LoadBalancer) -> tuple[str, ...]:
    """Names of the Secrets that its listeners show certificates of."""
    return tuple(
        dict.fromkeys(
            name
            for listener in load_balancer.listeners
            if listener.tls is not None
            for name in listener.tls.secrets
        )
    )


def resolve_certificates(
    *,
    load_balancer: LoadBalancer,
    findings: Mapping[str, SecretFinding],
    remembered: Mapping[str, Certificate],
    now: float,
    more_problems: tuple[str, ...] = (),
) -> Certificates:
    """Take what the Secrets hold, or what they held last.

    ``findings`` has every Secret that is named; ``remembered`` the certificates in force before;
    ``now`` is in seconds since 1970; ``more_problems`` are told with those found here.
    """
    usable: dict[str, Certificate] = {}
    problems: list[str] = []
    remarks: list[str] = []
    for where, listener, secret in _references(load_balancer):
        finding = findings[secret]
        certificate = finding.certificate or remembered.get(secret)
        if certificate is not None:
            usable[secret] = certificate
        said = f"{where}: Secret {load_balancer.meta.ref.namespace}/{secret}"
        if finding.certificate is None:
            meanwhile = (
                "the certificate that it held last is served on by the nginx pods that have it"
                if certificate is not None
                else f"TLS handshakes on listener {listener.name} that need it fail until then"
            )
            problems.append(f"{said}: {finding.problem}; {meanwhile}")
        else:
            remarks += [f"{said}: {remark}" for remark in _remarks(finding.certificate, now=now)]
    return Certificates(usable=usable, problems=(*problems, *more_problems), remarks=tuple(remarks))


def resolved(*, certificates: Certificates, of_mappings: Condition) -> Condition:
    """``ResolvedRefs`` of a LoadBalancer; ``of_mappings`` is the worst that its mappings say."""
    if certificates.problems:
        return Condition(
            type="ResolvedRefs",
            status=Status.FALSE,
            reason="InvalidCertificateRef",
            message="; ".join(certificates.problems),
        )
    if not certificates.remarks:
        return of_mappings
    return Condition(
        type="ResolvedRefs",
        status=of_mappings.status,
        reason=of_mappings.reason,
        message="; ".join((of_mappings.message, *certificates.remarks)),
    )


def _references(load_balancer: LoadBalancer) -> Iterable[tuple[str, Listener, str]]:
    for number, listener in enumerate(load_balancer.listeners):
        for position, secret in enumerate(listener.tls.secrets if listener.tls else ()):
            where = f"spec.listeners[{number}].tls.certificateRefs[{position}].name"
            yield where, listener, secret


def _remarks(certificate: Certificate, *, now: float) -> list[str]:
    remarks = list(certificate.remarks)
    if certificate.not_after < now + _DAY_S:
        ends = datetime.fromtimestamp(certificate.not_after, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        tense = "expired" if certificate.not_after < now else "expires"
        remarks.append(f"its certificate {tense} on {ends}; renew it")
    return remarks
