"""What came of a comparison: what Consul holds now, what not, and what is to be said. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from consul_nginx.model.registration import Change, Changes, Pod, PodWarning, Registration
from consul_nginx.registrar.warnings import Reason

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What one Pod asks for, and what its author should know."""

    pod: Pod
    registrations: tuple[Registration, ...]
    warnings: tuple[PodWarning, ...]


@dataclass(frozen=True, kw_only=True)
class WishesOfNode:
    """Everything that the Pods of a node ask for.

    ``registrations`` have different IDs; ``losers`` ask for an ID that an older Pod has.
    """

    wishes: tuple[Wish, ...] = ()
    registrations: tuple[Registration, ...] = ()
    losers: tuple[Registration, ...] = ()

    def asks_as(self, other: WishesOfNode) -> bool:
        """Whether the same is asked for, whatever else of the Pods is different."""
        return self._content() == other._content()

    def _content(self) -> list[tuple[str, tuple[Registration, ...], tuple[PodWarning, ...]]]:
        return [
            (wish.pod.uid, wish.registrations, wish.warnings)
            for wish in self.wishes
            if wish.registrations or wish.warnings
        ]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """One node after its latest comparison, when its Pods asked for what is in ``asked``.

    ``written``: what Consul holds because Pods ask for it, by ID. ``refused``: number of
    registrations that Pods ask for and do not get. ``missed``: of Pods that are missing, kept until
    that is confirmed. ``pending``: could not be written because Consul does not answer.
    """

    asked: WishesOfNode = WishesOfNode()
    written: Mapping[str, Registration] = field(default_factory=dict)
    refused: int = 0
    missed: int = 0
    pending: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is to be said about one Pod; ``registered`` is what was written for the first time."""

    wish: Wish
    warnings: tuple[PodWarning, ...]
    registered: tuple[Registration, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A comparison and its writes; ``refused`` has Consul's reasons by ID."""

    asked: WishesOfNode
    changes: Changes
    refused: Mapping[str, str]
    missed: int = 0

    def settled(self) -> Settled:
        """What holds from now on."""
        lost = {*self.refused, *(change.after.content.id for change in self.changes.taken)}
        return Settled(
            asked=self.asked,
            written={
                item.content.id: item
                for item in self.asked.registrations
                if item.content.id not in lost
            },
            refused=len(lost) + len(self.asked.losers),
            missed=self.missed,
        )

    def drift(self, before: Settled) -> frozenset[str]:
        """IDs that Consul did not hold as they were left, although their Pods ask for the same."""
        return frozenset(
            change.after.content.id
            for change in (*self.changes.register, *self.changes.readiness)
            if before.written.get(change.after.content.id) == change.after
        )

    def told(self) -> tuple[Told, ...]:
        """What is to be said, for each Pod that something is to be said of."""
        problems = _by_pod(self._problems())
        news = _by_pod(
            (change.after, change.after) for change in self.changes.register if self._is_new(change)
        )
        found = (
            Told(
                wish=wish,
                warnings=(*wish.warnings, *problems.get(wish.pod.uid, ())),
                registered=tuple(news.get(wish.pod.uid, ())),
            )
            for wish in self.asked.wishes
        )
        return tuple(item for item in found if item.warnings or item.registered)

    def _is_new(self, change: Change) -> bool:
        before, after = change.before, change.after
        if after.content.id in self.refused:
            return False
        return before is None or before.owner != after.owner

    def _problems(self) -> Iterable[tuple[Registration, PodWarning]]:
        for item in self.asked.losers:
            yield item, _taken(item, by="an older Pod of this node")
        for change in self.changes.taken:
            yield change.after, _taken(change.after, by="somebody else in Consul")
        for change in (*self.changes.register, *self.changes.readiness):
            reason = self.refused.get(change.after.content.id)
            if reason is not None:
                yield (
                    change.after,
                    PodWarning(
                        reason=Reason.REFUSED_BY_CONSUL.value,
                        message=f"{change.after.content.id} is not registered: Consul: {reason}",
                    ),
                )


def _taken(item: Registration, *, by: str) -> PodWarning:
    return PodWarning(
        reason=Reason.ID_TAKEN.value,
        message=(
            f"SERVICE_ID: {item.content.id}: not registered, because {by} has this ID; choose "
            "another one, or leave SERVICE_ID out"
        ),
    )


def _by_pod(items: Iterable[tuple[Registration, Item]]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for registration, item in items:
        found.setdefault(registration.owner.pod_uid, []).append(item)
    return found
