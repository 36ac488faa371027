"""By which authorities nginx verifies backends and clients, and what is wrong with others. Pure.

What can't be read any more leaves in force what nginx has; without any, everybody is refused:
nothing is ever passed on unverified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consul_nginx.model.authorities import Authority, AuthorityFinding, authorities_id
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.mapping import BackendGroup, ServiceMapping
from consul_nginx.model.nginx import AuthoritySlot
from consul_nginx.model.verdict import Condition, Status

Findings = Mapping[Authority, AuthorityFinding]

_UNKNOWN = AuthorityFinding(problem="it is not known")


def authorities_of(
    *, load_balancer: LoadBalancer | None = None, mappings: Iterable[ServiceMapping]
) -> tuple[Authority, ...]:
    """All that listeners and mappings name, each once."""
    sets = _sets(load_balancer=load_balancer, mappings=mappings)
    return tuple(sorted({item for named in sets for item in named}))


def authority_slots(
    *, load_balancer: LoadBalancer, mappings: Iterable[ServiceMapping], findings: Findings
) -> tuple[AuthoritySlot, ...]:
    """One for each set that is named; one that is not complete is not used."""
    sets = _sets(load_balancer=load_balancer, mappings=mappings)
    slots = (
        AuthoritySlot(id=authorities_id(named), pem=_joined(named, findings)) for named in sets
    )
    return tuple(sorted(slots, key=lambda slot: slot.id))


def with_authorities(
    condition: Condition, *, mapping: ServiceMapping, findings: Findings
) -> Condition:
    """``ResolvedRefs`` of a mapping: that of its authorities, where one of them can't be used."""
    named = dict.fromkeys((part.spoken, _named(part.group)) for part in mapping.parts)
    problems = [
        problem
        for spoken, authorities in named
        for problem in _problems(authorities, findings, field=f"{spoken}.backendTls")
    ]
    if not problems:
        return condition
    return Condition(
        type=condition.type,
        status=Status.FALSE,
        reason="InvalidCertificateRef",
        message="; ".join((*problems, condition.message)),
    )


def problems_of_clients(load_balancer: LoadBalancer, findings: Findings) -> tuple[str, ...]:
    """What is wrong with the authorities that listeners verify their clients by."""
    return tuple(
        problem
        for number, listener in enumerate(load_balancer.listeners)
        if listener.tls is not None
        for problem in _problems(
            listener.tls.client_authorities,
            findings,
            field=f"spec.listeners[{number}].tls.clientValidation",
        )
    )


def _problems(named: Iterable[Authority], findings: Findings, *, field: str) -> list[str]:
    meanwhile = "nginx verifies by what it has of them, and without any it passes nothing on"
    return [
        f"{field}.caCertificateRefs[{position}].name: {item}: {finding.problem}; {meanwhile}"
        for position, item in enumerate(named)
        if (finding := findings.get(item, _UNKNOWN)).pem is None
    ]


def _sets(
    *, load_balancer: LoadBalancer | None, mappings: Iterable[ServiceMapping]
) -> set[tuple[Authority, ...]]:
    listeners = load_balancer.listeners if load_balancer is not None else ()
    of_listeners = (item.tls.client_authorities for item in listeners if item.tls is not None)
    of_groups = (_named(group) for mapping in mappings for group in mapping.groups)
    return {named for named in (*of_listeners, *of_groups) if named}


def _named(group: BackendGroup) -> tuple[Authority, ...]:
    return group.tls.authorities if group.tls is not None else ()


def _joined(named: Iterable[Authority], findings: Findings) -> str | None:
    texts = [findings.get(item, _UNKNOWN).pem for item in named]
    return None if None in texts else "".join(filter(None, texts))
