"""By which authorities nginx verifies backends, and what is wrong with the others. Pure.

What can't be read any more leaves in force what nginx has; without any, every backend is refused:
nothing is ever passed on unverified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consul_nginx.model.authorities import Authority, AuthorityFinding, authorities_id
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.nginx import AuthoritySlot
from consul_nginx.model.verdict import Condition, Status

Findings = Mapping[Authority, AuthorityFinding]

_UNKNOWN = AuthorityFinding(problem="it is not known")


def authorities_of(mappings: Iterable[ServiceMapping]) -> tuple[Authority, ...]:
    """All that mappings name, each once."""
    return tuple(sorted({item for mapping in mappings for item in _named(mapping)}))


def authority_slots(
    mappings: Iterable[ServiceMapping], findings: Findings
) -> tuple[AuthoritySlot, ...]:
    """One for each set that a mapping names; one that is not complete is not used."""
    sets = {named for mapping in mappings if (named := _named(mapping))}
    slots = (
        AuthoritySlot(id=authorities_id(named), pem=_joined(named, findings)) for named in sets
    )
    return tuple(sorted(slots, key=lambda slot: slot.id))


def with_authorities(
    condition: Condition, *, mapping: ServiceMapping, findings: Findings
) -> Condition:
    """``ResolvedRefs`` of a mapping: that of its authorities, where one of them can't be used."""
    problems = [
        f"spec.backendTls.caCertificateRefs[{position}].name: {item}: {finding.problem}"
        for position, item in enumerate(_named(mapping))
        if (finding := findings.get(item, _UNKNOWN)).pem is None
    ]
    if not problems:
        return condition
    meanwhile = "nginx verifies by what it has of them, and without any it passes nothing on"
    return Condition(
        type=condition.type,
        status=Status.FALSE,
        reason="InvalidCertificateRef",
        message="; ".join((*problems, meanwhile, condition.message)),
    )


def _named(mapping: ServiceMapping) -> tuple[Authority, ...]:
    tls = mapping.traffic.backend_tls
    return tls.authorities if tls is not None else ()


def _joined(named: Iterable[Authority], findings: Findings) -> str | None:
    texts = [findings.get(item, _UNKNOWN).pem for item in named]
    return None if None in texts else "".join(filter(None, texts))
