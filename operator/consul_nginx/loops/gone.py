"""Which Pods that Consul's instances name are gone, as far as this cluster's Pods are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Protocol

from consul_nginx.loops.brake import Brake
from consul_nginx.model.consul import PodMark
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.plan.survey import GonePods


class KnownPods(Protocol):
    """What has to be known of Pods; see ``Pods``."""

    def subscribe(self, fate: Callable[[str], None]) -> None:
        """Have ``fate`` called with the UID of a Pod of which there is evidence."""

    def subscribe_lists(self, listed: Callable[[str | None], None]) -> None:
        """Have ``listed`` called with the namespace of each complete list, None for all."""

    def covers(self, namespace: str) -> bool:
        """Whether all Pods of a namespace are known."""

    def lives(self, uid: str) -> bool:
        """Whether the Pod is known, and was not told to end."""

    def ended(self, uid: str) -> bool:
        """Whether the Pod was seen to end."""


class Gone:
    """Holds back, for each LoadBalancer, what lists that lack Pods would take out of its nginx.

    By the brake's rules, as the registrar does, which is about to deregister them: else one list
    after the other could take all of them, a few at a time.
    """

    def __init__(self, *, pods: KnownPods, clock: Callable[[], float] = time.monotonic) -> None:
        self._pods = pods
        self._clock = clock
        self._brakes: dict[ObjectRef, Brake] = {}
        pods.subscribe(self._seen)
        pods.subscribe_lists(self._listed)

    @property
    def misses(self) -> bool:
        """Whether Pods are missing, of which the next list may tell more."""
        return any(brake.remembers for brake in self._brakes.values())

    def of(self, load_balancer: ObjectRef, *, marks: Collection[PodMark], cluster: str) -> GonePods:
        """Of the Pods that ``marks`` name, those of ``cluster`` that are gone.

        ``marks`` are all that the instances of a LoadBalancer's services name at present. Those
        that lists lack count as if they had been seen to end, unless the brake holds them. Another
        cluster's Pods can't be known, nor those of a namespace that was not listed.
        """
        ours = [mark for mark in marks if mark.cluster == cluster]
        away = [mark for mark in ours if not self._pods.lives(mark.uid)]
        ended = frozenset(mark.uid for mark in away if self._pods.ended(mark.uid))
        missing = {
            mark.uid: mark.namespace
            for mark in away
            if mark.uid not in ended and self._pods.covers(mark.namespace)
        }
        brake = self._brake(load_balancer)
        brake.missing(node="", pods=missing, held=len(ours))
        doubted = frozenset(uid for uid in missing if brake.holds(uid))
        return GonePods(ended=ended | (missing.keys() - doubted), missing=doubted)

    def _brake(self, load_balancer: ObjectRef) -> Brake:
        """That of a LoadBalancer; of others, those that remember nothing are let go."""
        brake = self._brakes.get(load_balancer) or Brake(clock=self._clock)
        self._brakes = {ref: one for ref, one in self._brakes.items() if one.remembers}
        self._brakes[load_balancer] = brake
        return brake

    def _seen(self, uid: str) -> None:
        for brake in self._brakes.values():
            brake.seen(uid)

    def _listed(self, namespace: str | None) -> None:
        for brake in self._brakes.values():
            brake.listed(namespace)
