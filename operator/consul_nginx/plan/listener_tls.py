"""TLS in nginx's terms: who shows which certificate, and where connections go by SNI. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TypeVar

from consul_nginx.model.authorities import authorities_id
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.names import HOSTNAME, MAX_HOSTNAME
from consul_nginx.model.nginx import CertificateSlot, Termination
from consul_nginx.model.tls import ListenerTls, TlsMode

Target = TypeVar("Target")


def certificate_slots(
    *, load_balancer: LoadBalancer, usable: Mapping[str, Certificate]
) -> tuple[CertificateSlot, ...]:
    """One for each group of Secrets that listeners show together, in the order of their ids."""
    groups = {
        group
        for listener in load_balancer.listeners
        if listener.tls is not None
        for group in certificate_groups(listener.tls, usable=usable)
    }
    slots = (
        CertificateSlot(
            id=certificate_id(group),
            files=tuple(usable[secret].file for secret in group if secret in usable),
        )
        for group in groups
    )
    return tuple(sorted(slots, key=lambda slot: slot.id))


def certificate_groups(
    tls: ListenerTls, *, usable: Mapping[str, Certificate]
) -> list[tuple[str, ...]]:
    """A listener's Secrets, in their order; those for the same names, with keys of different types,
    are one group: nginx shows each client the one that it can verify.
    """
    groups: dict[str, list[str]] = {}
    for secret in tls.secrets:
        leader = next((one for one in groups if _go_with(groups[one], secret, usable)), None)
        groups.setdefault(leader or secret, []).append(secret)
    return [tuple(group) for group in groups.values()]


def certificate_id(group: Iterable[str]) -> str:
    """Name of a group's file in the bundle: it stays when the content of Secrets changes."""
    return hashlib.sha256("\0".join(group).encode()).hexdigest()[:16]


def termination(
    tls: ListenerTls | None, *, usable: Mapping[str, Certificate]
) -> Termination | None:
    """What nginx answers handshakes with; None where it answers none."""
    if tls is None or tls.mode is TlsMode.PASSTHROUGH:
        return None
    return Termination(
        minimum=tls.minimum,
        certificate=certificate_id(certificate_groups(tls, usable=usable)[0]),
        client_authorities=authorities_id(tls.client_authorities)
        if tls.client_authorities
        else None,
    )


def shown_for(
    hostname: str | None, *, tls: ListenerTls | None, usable: Mapping[str, Certificate]
) -> str | None:
    """Id of the certificate that clients get who ask for a host name; None without TLS of ours.

    The first one that names the host, else the first with a wildcard for it, else the first of all.
    """
    if tls is None or tls.mode is TlsMode.PASSTHROUGH:
        return None
    chosen = _chosen(hostname, secrets=tls.secrets, usable=usable)
    groups = certificate_groups(tls, usable=usable)
    return next(certificate_id(group) for group in groups if chosen in group)


def with_names_of_certificates(
    hosts: Mapping[str | None, Target],
    *,
    tls: ListenerTls,
    usable: Mapping[str, Certificate],
) -> dict[str | None, Target]:
    """The hosts, and the names of certificates that no mapping has, with the target of the mapping
    that takes them, if one does.

    nginx chooses the certificate with the server block: without one of its own, a name that only a
    certificate has would be shown the first certificate of all.
    """
    named = [
        name
        for secret in tls.secrets
        if secret in usable
        for name in usable[secret].hostnames
        if name not in hosts
        and _is_hostname(name.removeprefix("*."))
        and shown_for(name, tls=tls, usable=usable) != shown_for(None, tls=tls, usable=usable)
    ]
    targets = {name: _taken_by(name, hosts) for name in named}
    return {**hosts, **{name: hosts[key] for name, key in targets.items() if key in hosts}}


def reads_sni(tls: ListenerTls | None) -> bool:
    """Whether names are read from handshakes that backends answer."""
    return tls is not None and tls.mode is TlsMode.PASSTHROUGH


def _go_with(group: Sequence[str], secret: str, usable: Mapping[str, Certificate]) -> bool:
    """Whether a Secret's certificate is one more for the same names."""
    known = [usable[one] for one in group if one in usable]
    if not known or secret not in usable:
        return False
    one_more = usable[secret]
    return one_more.hostnames == known[0].hostnames and all(
        one_more.key_type != other.key_type for other in known
    )


def _is_hostname(name: str) -> bool:
    """Whoever issues a certificate writes into it what they like."""
    return len(name) <= MAX_HOSTNAME and HOSTNAME.fullmatch(name) is not None


def _chosen(
    hostname: str | None, *, secrets: Sequence[str], usable: Mapping[str, Certificate]
) -> str:
    if hostname is None:
        return secrets[0]
    covering = [name for name in secrets if name in usable and usable[name].covers(hostname)]
    exact = [name for name in covering if hostname in usable[name].hostnames]
    return (exact or covering or list(secrets))[0]


def _taken_by(name: str, hosts: Container[str | None]) -> str | None:
    """As nginx would choose: the longest wildcard, else what takes all that nobody names."""
    labels = name.removeprefix("*.").split(".")
    wildcards = (f"*.{'.'.join(labels[depth:])}" for depth in range(1, len(labels)))
    return next((wildcard for wildcard in wildcards if wildcard in hosts), None)
