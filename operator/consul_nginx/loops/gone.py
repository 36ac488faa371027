"""Which Pods that Consul's instances name are gone, as far as this cluster's Pods are known."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from consul_nginx.loops.brake import FREE, FREE_SHARE
from consul_nginx.model.consul import PodMark
from consul_nginx.plan.survey import GonePods


class KnownPods(Protocol):
    """What has to be known of Pods; see ``Pods``."""

    def covers(self, namespace: str) -> bool:
        """Whether all Pods of a namespace are known."""

    def lives(self, uid: str) -> bool:
        """Whether the Pod is known, and was not told to end."""

    def ended(self, uid: str) -> bool:
        """Whether the Pod was seen to end."""


def gone_pods(*, marks: Collection[PodMark], cluster: str, pods: KnownPods) -> GonePods:
    """Of the Pods that ``marks`` name, those of ``cluster`` that are gone.

    A few that a list lacks count as if they had been seen to end, as for the registrar (``Brake``),
    which is about to deregister them. Another cluster's Pods can't be known, nor those of a
    namespace that was not listed.
    """
    ours = [mark for mark in marks if mark.cluster == cluster]
    away = [mark for mark in ours if not pods.lives(mark.uid)]
    ended = frozenset(mark.uid for mark in away if pods.ended(mark.uid))
    missing = frozenset(mark.uid for mark in away if pods.covers(mark.namespace)) - ended
    if len(missing) <= max(FREE, FREE_SHARE * len(ours)):
        return GonePods(ended=ended | missing)
    return GonePods(ended=ended, missing=missing)
