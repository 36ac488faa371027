"""``ResolvedRefs``: what Consul says of a mapping's backend, in words. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from consul_nginx.model.consul import UNKNOWN, Observation, ServiceQuery, Snapshot
from consul_nginx.model.mapping import BackendGroup
from consul_nginx.model.nginx import Layer
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.upstreams import Selections

_WITHOUT_ENDPOINTS = {
    Layer.HTTP: "nginx answers 503",
    Layer.STREAM: "nginx closes connections at once",
}


def condition(status: Status, reason: str, message: str) -> Condition:
    """``ResolvedRefs`` as it stands."""
    return Condition(type="ResolvedRefs", status=status, reason=reason, message=message)


def not_asked() -> Condition:
    """The condition of a mapping that is not in use in any form."""
    return condition(Status.UNKNOWN, "NotAccepted", "Consul is not asked until it is accepted")


def answered_by_nginx() -> Condition:
    """The condition of a mapping without backends."""
    return condition(Status.TRUE, "ResolvedRefs", "nginx answers itself, Consul is not asked")


_WORST_FIRST = {Status.UNKNOWN: 0, Status.FALSE: 1, Status.TRUE: 2}


def resolved(
    *, group: BackendGroup, layer: Layer, snapshot: Snapshot, selections: Selections
) -> Condition:
    """The condition of a mapping: that of its backends, the worst of several first."""
    found = [
        _resolved(
            position=position,
            query=query,
            layer=layer,
            observation=snapshot.get(query, UNKNOWN),
            selection=selections[query],
        )
        for position, query in enumerate(group.queries)
    ]
    worst = min(found, key=lambda item: _WORST_FIRST[item.status])
    served = [item for item in found if item.is_true]
    if worst.is_true:
        return condition(Status.TRUE, worst.reason, "; ".join(item.message for item in found))
    others = "; the other backends are served" if served else ""
    return condition(worst.status, worst.reason, f"{worst.message}{others}")


def _resolved(
    *,
    position: int,
    query: ServiceQuery,
    layer: Layer,
    observation: Observation,
    selection: EndpointSelection | None,
) -> Condition:
    """That of one backend; ``selection`` is None when Consul never answered."""
    if observation.error is not None:
        failed = (
            f"for {query} since {_time(observation.failing_since)}: {observation.error}; "
            "nginx keeps the endpoints it has"
        )
        if observation.refused:
            return condition(Status.UNKNOWN, "ConsulRefused", f"Consul refuses the query {failed}")
        return condition(Status.UNKNOWN, "ConsulUnreachable", f"Consul does not answer {failed}")
    if selection is None:
        return condition(Status.UNKNOWN, "Pending", f"Consul has not answered for {query} yet")
    dropped = "".join(
        f"; {item.count} dropped: {item.reason}, such as {item.first}" for item in selection.dropped
    )
    if selection.endpoints:
        return condition(
            Status.TRUE,
            "ResolvedRefs",
            f"{len(selection.endpoints)} of {selection.total} instances of {query} "
            f"are served{dropped}",
        )
    if selection.total:
        return condition(
            Status.FALSE,
            "NoHealthyEndpoints",
            f"none of {selection.total} instances of {query} is passing and usable; "
            f"{_WITHOUT_ENDPOINTS[layer]}{dropped}",
        )
    return condition(
        Status.FALSE,
        "ServiceNotFound",
        f"spec.backends[{position}].service: Consul knows no instance of {query}; "
        f"{_WITHOUT_ENDPOINTS[layer]}",
    )


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
