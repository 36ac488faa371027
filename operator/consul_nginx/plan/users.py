"""Who is let in by password, and what is wrong with Secrets that should say so. Pure.

A Secret that can't be used leaves in force what it held last; one that is gone, or never was of
use, lets nobody in. Nothing is ever open because of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.nginx import UsersSlot
from consul_nginx.model.secret_files import SecretFile
from consul_nginx.model.users import UsersFinding, users_id
from consul_nginx.model.verdict import Condition, Status

_SERVED_ON = "the users that it held last are let in on by the nginx pods that have them"
_CLOSED = "requests get 503 until then"


@dataclass(frozen=True, kw_only=True)
class Users:
    """``usable`` files and ``problems`` in words for people, by the name of their Secret."""

    usable: Mapping[str, SecretFile] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


NO_USERS = Users()


def users_secrets(mappings: Iterable[ServiceMapping]) -> tuple[str, ...]:
    """Names of the Secrets that say who is let in, of mappings that are in use.

    All are in the LoadBalancer's namespace: mappings of others are refused.
    """
    return tuple(
        sorted({auth.secret for item in mappings if (auth := item.traffic.basic_auth) is not None})
    )


def resolve_users(
    *, findings: Mapping[str, UsersFinding], remembered: Mapping[str, SecretFile]
) -> Users:
    """Take what the Secrets hold, or what they held last; ``remembered`` was in force before."""
    usable: dict[str, SecretFile] = {}
    problems: dict[str, str] = {}
    for secret, finding in findings.items():
        file = finding.file or (None if finding.gone else remembered.get(secret))
        if file is not None:
            usable[secret] = file
        if finding.file is None:
            meanwhile = _CLOSED if file is None else _SERVED_ON
            problems[secret] = f"{finding.problem}; {meanwhile}"
    return Users(usable=usable, problems=problems)


def users_slots(*, mappings: Iterable[ServiceMapping], users: Users) -> tuple[UsersSlot, ...]:
    """One for each Secret that is named, in the order of their ids."""
    slots = (
        UsersSlot(id=users_id(secret), file=users.usable.get(secret))
        for secret in users_secrets(mappings)
    )
    return tuple(sorted(slots, key=lambda slot: slot.id))


def with_users(condition: Condition, *, mapping: ServiceMapping, users: Users) -> Condition:
    """``ResolvedRefs`` of a mapping: that of its users, where their Secret can't be used."""
    auth = mapping.traffic.basic_auth
    problem = users.problems.get(auth.secret) if auth is not None else None
    if auth is None or problem is None:
        return condition
    where = f"spec.basicAuth.secretRef.name: Secret {mapping.meta.ref.namespace}/{auth.secret}"
    return replace(
        condition,
        status=Status.FALSE,
        reason="InvalidSecretRef",
        message=f"{where}: {problem}; {condition.message}",
    )
