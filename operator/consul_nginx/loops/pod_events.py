"""Tells the authors of Pods what became of their annotations, by Events on the Pod."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator

from consul_nginx.kube.client import POD
from consul_nginx.kube.errors import KubeError
from consul_nginx.loops.events import Events
from consul_nginx.loops.recent import keep
from consul_nginx.model.kubernetes import Meta
from consul_nginx.model.registration import Registration
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.rate import TokenBucket
from consul_nginx.registrar.outcome import Told

_log = logging.getLogger(__name__)

# A rollout of a thousand Pods must not keep the API server busy with Events.
PER_SECOND = 10.0
AT_ONCE = 100
_REMEMBERED = 100_000
_SHOWN_NAMES = 5


class PodEvents:
    """What is the same as was said before of a Pod is not said again."""

    def __init__(self, *, events: Events) -> None:
        self._events = events
        self._said: OrderedDict[str, frozenset[Condition]] = OrderedDict()
        self._waiting: OrderedDict[str, tuple[Meta, tuple[Condition, ...]]] = OrderedDict()
        self._wake = asyncio.Event()
        self._rate = TokenBucket(per_second=PER_SECOND, burst=AT_ONCE)

    def tell(self, told: Told) -> None:
        """Have it said soon."""
        pod = told.wish.pod
        conditions = tuple(_conditions(told))
        said = self._said.get(pod.uid, frozenset())
        news = tuple(item for item in conditions if item not in said)
        keep(self._said, pod.uid, frozenset(conditions), at_most=_REMEMBERED)
        if news:
            meta = Meta(ref=pod.ref, uid=pod.uid, generation=1, created=pod.created)
            _, waiting = self._waiting.get(pod.uid, (meta, ()))
            self._waiting[pod.uid] = meta, (*waiting, *news)
            self._wake.set()

    async def run(self) -> None:
        """Never returns; what can't be posted is lost."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                _, (meta, conditions) = self._waiting.popitem(last=False)
                for condition in conditions:
                    await asyncio.sleep(self._rate.take())
                    try:
                        await self._events.post(kind=POD, meta=meta, conditions=(condition,))
                    except KubeError as error:
                        # The lead is another's by now, say: it tells the same of what is wrong.
                        _log.debug("an Event of %s is not posted: %s", meta.ref, error)


def _conditions(told: Told) -> Iterator[Condition]:
    for warning in told.warnings:
        yield Condition(
            type="Registered", status=Status.FALSE, reason=warning.reason, message=warning.message
        )
    if told.registered:
        yield Condition(
            type="Registered",
            status=Status.TRUE,
            reason="Registered",
            message=f"in Consul: {_names(told.registered)}",
        )


def _names(registrations: tuple[Registration, ...]) -> str:
    shown = [
        f"{item.content.name} at {item.content.address}:{item.content.port}"
        for item in registrations[:_SHOWN_NAMES]
    ]
    more = len(registrations) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")
