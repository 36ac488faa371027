"""The custom resources at hand, and which LoadBalancer a change of one concerns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consul_nginx.kube.client import LOAD_BALANCER, SERVICE_MAPPING
from consul_nginx.loops.namespaces import Namespaces
from consul_nginx.loops.store import Store, Stored
from consul_nginx.model.kubernetes import Batching, LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping

AT_ONCE = Batching(quiet_period=0.0, max_delay=0.0, min_interval=0.0)


@dataclass(frozen=True, kw_only=True)
class MappingsOf:
    """The mappings that name one LoadBalancer: those that can be planned, and the others.

    ``raws`` has all of them as they were written, by uid.
    """

    valid: tuple[ServiceMapping, ...]
    invalid: tuple[Invalid, ...]
    raws: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A list of the API server's: raw objects, and the resourceVersion they are complete at."""

    items: tuple[Mapping[str, Any], ...]
    version: int


class Resources:
    """Both kinds. ``concerns`` is called with the LoadBalancer that a change concerns."""

    def __init__(self, *, concerns: Callable[[ObjectRef], None]) -> None:
        self._concerns = concerns
        self._listed: set[str | None] = set()
        self.load_balancers: Store[LoadBalancer] = Store(
            parse=parse_load_balancer, changed=self._load_balancer_changed
        )
        self.mappings: Store[ServiceMapping] = Store(
            parse=parse_service_mapping, changed=self._mapping_changed
        )
        self.namespaces = Namespaces()
        self.namespaces.subscribe(self._namespaces_changed)
        # Mappings first: see covers().
        self.stores: Mapping[str, Store[Any]] = {
            SERVICE_MAPPING.plural: self.mappings,
            LOAD_BALANCER.plural: self.load_balancers,
        }

    @property
    def synced(self) -> bool:
        """Whether both kinds have been listed once: before that, nothing may be decided."""
        return bool(self._listed)

    def covers(self, namespace: str) -> bool:
        """Whether both kinds of a namespace have been listed once.

        To know a LoadBalancer without its mappings would take their routes down.
        """
        return None in self._listed or namespace in self._listed

    def take(self, *, namespace: str | None, lists: Mapping[str, Listed]) -> None:
        """Complete lists of both kinds, by plural, of one namespace or (None) of all."""
        for plural, store in self.stores.items():
            listed = lists[plural]
            store.replace(items=listed.items, version=listed.version, namespace=namespace)
        self._listed.add(namespace)

    def mappings_of(self, load_balancer: ObjectRef) -> MappingsOf:
        """Every mapping that names ``load_balancer``."""
        stored = [
            item for item in self.mappings.all() if named_load_balancer(item) == load_balancer
        ]
        return MappingsOf(
            valid=tuple(i.value for i in stored if not isinstance(i.value, Invalid)),
            invalid=tuple(i.value for i in stored if isinstance(i.value, Invalid)),
            raws={item.value.meta.uid: item.raw for item in stored},
        )

    def named(self) -> frozenset[ObjectRef]:
        """LoadBalancers that mappings name, whether they exist or not."""
        return frozenset(named_load_balancer(item) for item in self.mappings.all())

    def batching(self, load_balancer: ObjectRef) -> Batching:
        """How changes of a LoadBalancer are gathered."""
        stored = self.load_balancers.get(load_balancer)
        if stored is None or isinstance(stored.value, Invalid):
            return AT_ONCE
        return stored.value.reload.batching

    def _namespaces_changed(self) -> None:
        for stored in self.load_balancers.all():
            # Of an invalid one an earlier form is served, which may choose by them.
            if isinstance(stored.value, Invalid) or stored.value.chooses_by_labels:
                self._concerns(stored.value.meta.ref)

    def rejected(self) -> Counter[tuple[str, ...]]:
        """Number of objects whose status says that they are not accepted, by kind and reason."""
        kinds = {kind.plural: kind.kind for kind in (LOAD_BALANCER, SERVICE_MAPPING)}
        return Counter(
            (kinds[plural], condition["reason"])
            for plural, store in self.stores.items()
            for stored in store.all()
            for condition in stored.status.get("conditions") or ()
            if (condition["type"], condition["status"]) == ("Accepted", "False")
        )

    def _load_balancer_changed(
        self, before: Stored[LoadBalancer] | None, after: Stored[LoadBalancer] | None
    ) -> None:
        if before is not None and after is not None and before.value == after.value:
            return
        self._concerns((after or before).value.meta.ref)  # type: ignore[union-attr]

    def _mapping_changed(
        self, before: Stored[ServiceMapping] | None, after: Stored[ServiceMapping] | None
    ) -> None:
        if before is not None and after is not None and before.value == after.value:
            return
        for load_balancer in {named_load_balancer(item) for item in (before, after) if item}:
            self._concerns(load_balancer)


def named_load_balancer(mapping: Stored[ServiceMapping]) -> ObjectRef:
    """LoadBalancer that a mapping names, also when the rest of its specification is invalid."""
    if not isinstance(mapping.value, Invalid):
        return mapping.value.load_balancer
    spec = mapping.raw.get("spec") or {}
    ref = spec.get("loadBalancerRef") or {}
    namespace = ref.get("namespace") or mapping.value.meta.ref.namespace
    return ObjectRef(namespace=namespace, name=ref.get("name") or "")
