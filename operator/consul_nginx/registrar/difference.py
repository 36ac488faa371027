"""What has to be written so that Consul holds what is wanted. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto

from consul_nginx.model.registration import Change, Changes, Content, Held, Owner, Registration


class _Action(Enum):
    NOTHING = auto()
    REGISTER = auto()
    READINESS = auto()
    TAKEN = auto()


def difference(
    *,
    wanted: Iterable[Registration],
    held: Mapping[str, Held],
    cluster: str,
    may_remove: Callable[[Owner], bool],
) -> Changes:
    """Compare what is wanted on one node, IDs being unique, with what Consul holds there by ID.

    Only what carries the mark of ``cluster`` is changed, or removed when ``may_remove`` says so of
    its owner.
    """
    changes: dict[_Action, list[Change]] = {action: [] for action in _Action}
    ids = set()
    for registration in wanted:
        ids.add(registration.content.id)
        change = Change(before=held.get(registration.content.id), after=registration)
        changes[_action(change, cluster=cluster)].append(change)
    return Changes(
        register=tuple(changes[_Action.REGISTER]),
        readiness=tuple(changes[_Action.READINESS]),
        taken=tuple(changes[_Action.TAKEN]),
        remove=tuple(
            item
            for identity, item in sorted(held.items())
            if identity not in ids
            and item.owner is not None
            and item.owner.cluster == cluster
            and may_remove(item.owner)
        ),
    )


def _action(change: Change, *, cluster: str) -> _Action:
    before, after = change.before, change.after
    if before is None:
        return _Action.REGISTER
    if before.owner is None or before.owner.cluster != cluster:
        return _Action.TAKEN
    if before.ready is None or not _equal(before=before.content, after=after.content):
        return _Action.REGISTER
    return _Action.NOTHING if before.ready is after.ready else _Action.READINESS


def _equal(*, before: Content, after: Content) -> bool:
    """With EnableTagOverride the tags are whoever's changes them in the catalog."""
    if before.enable_tag_override and after.enable_tag_override:
        before = dataclasses.replace(before, tags=after.tags)
    return before == after


def claims(
    registrations: Iterable[Registration],
) -> tuple[tuple[Registration, ...], tuple[Registration, ...]]:
    """Of registrations of one node that have the same ID, that of the oldest Pod, and the others.

    A second registration of an ID on a node overwrites the first, so that an instance is lost.
    """
    winners: dict[str, Registration] = {}
    losers = []
    for item in sorted(registrations, key=_seniority):
        if item.content.id in winners:
            losers.append(item)
        else:
            winners[item.content.id] = item
    return tuple(winners.values()), tuple(losers)


def _seniority(item: Registration) -> tuple[str, str, str, str, int]:
    owner = item.owner
    return item.created, owner.namespace, owner.pod, item.content.id, item.content.port
