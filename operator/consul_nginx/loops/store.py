"""The operator's own copy of the custom resources, parsed once, fed by events and by lists.

kopf reports what it watches, but not what vanished while a watch was broken; so a list, taken at
start and whenever a watch began anew, adds what is there and reaps what is not. Of two versions of
an object the one with the higher resourceVersion counts, in whatever order they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.resources.base import Invalid

Parsed = TypeVar("Parsed")
Raw = Mapping[str, Any]

MAX_REMOVED = 10_000


@dataclass(frozen=True, kw_only=True)
class Stored(Generic[Parsed]):
    """One object: what it says, or what is wrong with it, and its status at that time."""

    value: Parsed | Invalid
    raw: Raw

    @property
    def version(self) -> int:
        """resourceVersion; comparable since Kubernetes 1.35 says so, and in etcd ever since."""
        return int(self.raw["metadata"]["resourceVersion"])

    @property
    def status(self) -> Raw:
        """The status as last seen."""
        status: Raw = self.raw.get("status") or {}
        return status


class Store(Generic[Parsed]):
    """Objects of one kind. ``changed`` is called with the object before and after a change."""

    def __init__(
        self,
        *,
        parse: Callable[[Raw], Parsed | Invalid],
        changed: Callable[[Stored[Parsed] | None, Stored[Parsed] | None], None],
    ) -> None:
        self._parse = parse
        self._changed = changed
        self._objects: dict[ObjectRef, Stored[Parsed]] = {}
        self._removed: dict[str, None] = {}

    def get(self, ref: ObjectRef) -> Stored[Parsed] | None:
        """The object, or None."""
        return self._objects.get(ref)

    def all(self) -> Iterable[Stored[Parsed]]:
        """Every object."""
        return tuple(self._objects.values())

    def refs(self) -> frozenset[ObjectRef]:
        """Identities of every object."""
        return frozenset(self._objects)

    def put(self, raw: Raw) -> None:
        """The object is there, as ``raw``; one on its way out counts as gone."""
        if "deletionTimestamp" in raw["metadata"]:
            self.remove(raw)
            return
        ref = _ref(raw)
        if raw["metadata"]["uid"] in self._removed:
            return
        before = self._objects.get(ref)
        after = Stored(value=self._parse(raw), raw=raw)
        if before is not None and before.version >= after.version:
            return
        self._objects[ref] = after
        self._changed(before, after)

    def remove(self, raw: Raw) -> None:
        """The object was deleted; a newer one of the same name stays."""
        ref = _ref(raw)
        before = self._objects.get(ref)
        if before is not None and before.raw["metadata"]["uid"] == raw["metadata"]["uid"]:
            self._forget(ref, before)
        self._bury(raw["metadata"]["uid"])

    def replace(self, *, items: Iterable[Raw], version: int, namespace: str | None = None) -> None:
        """A complete list as of ``version``: take what is newer, reap what is not in it.

        ``namespace`` is the one that was listed, None for all.
        """
        listed = {_ref(raw): raw for raw in items}
        for raw in listed.values():
            self.put(raw)
        for ref, stored in list(self._objects.items()):
            within = namespace is None or ref.namespace == namespace
            if within and ref not in listed and stored.version <= version:
                self._forget(ref, stored)

    def _forget(self, ref: ObjectRef, stored: Stored[Parsed]) -> None:
        del self._objects[ref]
        self._bury(stored.raw["metadata"]["uid"])
        self._changed(stored, None)

    def _bury(self, uid: str) -> None:
        """Remember a uid, which is never used again: a list or a write may still be on its way."""
        self._removed[uid] = None
        while len(self._removed) > MAX_REMOVED:
            del self._removed[next(iter(self._removed))]


def _ref(raw: Raw) -> ObjectRef:
    metadata = raw["metadata"]
    return ObjectRef(namespace=metadata["namespace"], name=metadata["name"])
