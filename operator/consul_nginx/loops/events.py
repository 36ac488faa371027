"""Posts Events, so many of each object that nobody floods the API server by flapping."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consul_nginx.kube.client import EVENT, Kind, KubeClient
from consul_nginx.kube.errors import KubeRefused, KubeUnavailable
from consul_nginx.kube.events import event, event_name
from consul_nginx.loops.recent import keep
from consul_nginx.metrics import EVENTS
from consul_nginx.model.kubernetes import Meta
from consul_nginx.model.verdict import Condition
from consul_nginx.rate import TokenBucket

_log = logging.getLogger(__name__)

# As client-go: 25 at once, then one in five minutes.
BURST = 25
PER_SECOND = 1 / 300
_REMEMBERED = 4096


@dataclass(kw_only=True)
class _Told:
    """One Event so far."""

    first: datetime = field(default_factory=lambda: datetime.now(UTC))
    count: int = 0


class Events:
    """What could not be posted is lost, and counted: the conditions say the same."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._told: OrderedDict[str, _Told] = OrderedDict()

    async def post(self, *, kind: Kind, meta: Meta, conditions: Iterable[Condition]) -> None:
        """Tell of conditions of one object."""
        for condition in conditions:
            if not self._bucket(meta.uid).try_take():
                EVENTS.labels(outcome="dropped").inc()
                continue
            told = self._count(event_name(meta=meta, condition=condition))
            body = event(
                kind=kind, meta=meta, condition=condition, first=told.first, count=told.count
            )
            try:
                await self._kube.apply(EVENT, body)
            except (KubeRefused, KubeUnavailable) as error:
                EVENTS.labels(outcome="failed").inc()
                _log.warning("an Event of %s could not be posted: %s", meta.ref, error)
            else:
                EVENTS.labels(outcome="posted").inc()

    def _bucket(self, uid: str) -> TokenBucket:
        bucket = self._buckets.get(uid) or TokenBucket(per_second=PER_SECOND, burst=BURST)
        return keep(self._buckets, uid, bucket, at_most=_REMEMBERED)

    def _count(self, name: str) -> _Told:
        told = keep(self._told, name, self._told.get(name) or _Told(), at_most=_REMEMBERED)
        told.count += 1
        return told
