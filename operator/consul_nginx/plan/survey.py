"""Which instances of one backend could be served, and which can not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consul_nginx.model.consul import Health, Observation, Spell
from consul_nginx.model.history import is_bearable, is_passing, spell
from consul_nginx.model.mapping import Endpoint
from consul_nginx.plan.endpoints import EndpointSelection, Unusable, counted, endpoint_of


@dataclass(frozen=True, kw_only=True)
class GonePods:
    """UIDs of Pods of this cluster: ``ended`` are gone for sure, ``missing`` are in no list.

    A list that lacks many Pods is weak evidence: it decides on nobody whom Consul calls healthy.
    """

    ended: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


NONE_GONE = GonePods()


class Candidate(NamedTuple):
    """An instance that could be served; ``spell`` is the latest one of its being healthy."""

    backend: int
    endpoint: Endpoint
    is_healthy: bool
    spell: Spell | None

    @property
    def place(self) -> tuple[int, str, int]:
        """What is served once, however often it is registered."""
        return self.backend, self.endpoint.address, self.endpoint.port


class Survey(NamedTuple):
    """What there is of one backend; candidates by their distance where Consul knows it."""

    candidates: Sequence[Candidate]
    total: int
    dropped: Sequence[Unusable]

    def selection(self, endpoints: tuple[Endpoint, ...]) -> EndpointSelection:
        """What is told of the backend, of which ``endpoints`` are served."""
        return EndpointSelection(
            endpoints=endpoints,
            total=self.total,
            healthy=sum(item.is_healthy for item in self.candidates),
            dropped=counted(self.dropped),
        )


def survey(
    observation: Observation, *, backend: int, warning: bool, gone: GonePods
) -> Survey | None:
    """What could be served; None as long as Consul has not answered.

    ``warning``: it counts as healthy. Maintenance is never served.
    """
    if observation.instances is None:
        return None
    counts = is_bearable if warning else is_passing
    candidates, dropped = [], []
    ordered = observation.nearest_first
    for instance in observation.instances if ordered else sorted(observation.instances):
        if instance.health is Health.MAINTENANCE or instance.pod.uid in gone.ended:
            continue
        is_healthy = counts(instance.health)
        if instance.pod.uid in gone.missing and not (is_healthy and observation.error is None):
            continue
        endpoint = endpoint_of(instance)
        if isinstance(endpoint, Unusable):
            if is_healthy or instance.health is Health.MALFORMED:
                dropped.append(endpoint)
            continue
        latest = spell(history=observation.history, instance=instance, bearable=warning)
        candidates.append(Candidate(backend, endpoint, is_healthy, latest))
    return Survey(candidates, len(observation.instances), dropped)
