"""Which registrations that nobody asks for may go, by what is known of their Pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from consul_nginx.loops.brake import Brake
from consul_nginx.loops.pods import Pods
from consul_nginx.model.registration import Held, Owner


class Evidence:
    """Of the registrations of one cluster, node by node: ``look`` comes before ``suffices``."""

    def __init__(
        self, *, pods: Pods, cluster: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pods = pods
        self._cluster = cluster
        self._brake = Brake(clock=clock)
        pods.subscribe(self._brake.seen)
        pods.subscribe_lists(self._brake.listed)

    def look(self, node: str, held: Mapping[str, Held]) -> int:
        """See what Consul holds for a node, by ID; returns how much of it the brake keeps."""
        ours = [
            item.owner
            for item in held.values()
            if item.owner is not None and item.owner.cluster == self._cluster
        ]
        missing = [owner for owner in ours if self._is_missing(owner)]
        self._brake.missing(
            node=node,
            pods={owner.pod_uid: owner.namespace for owner in missing},
            held=len(ours),
        )
        return sum(self._brake.holds(owner.pod_uid) for owner in missing)

    def suffices(self, owner: Owner) -> bool:
        """Whether what belongs to a Pod may be removed."""
        if not self._pods.covers(owner.namespace):
            return False
        return not self._is_missing(owner) or not self._brake.holds(owner.pod_uid)

    def forget(self, node: str) -> None:
        """Consul holds nothing of a node any more."""
        self._brake.forget(node)

    def _is_missing(self, owner: Owner) -> bool:
        """Whether the Pod is not there although it should be known, and nobody saw it end."""
        return (
            self._pods.covers(owner.namespace)
            and not self._pods.lives(owner.pod_uid)
            and not self._pods.ended(owner.pod_uid)
        )
