"""``ResolvedRefs``: what Consul says of a mapping's backend, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from consul_nginx.model.consul import UNKNOWN, Observation, ServiceQuery, Snapshot
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.mapping import BackendGroup, Part
from consul_nginx.model.nginx import Layer
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.health import Decision, Outcome

_WITHOUT_ENDPOINTS = {
    Layer.HTTP: "nginx answers 503",
    Layer.STREAM: "nginx closes connections at once",
}
# What becomes of what is needed beside the backends, by the place that speaks of it.
_BESIDE = {
    "spec.mirror": "no copies are sent",
    "spec.externalAuth": "nobody is served: nginx answers 500",
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
    *,
    part: Part,
    layer: Layer,
    snapshot: Snapshot,
    decision: Decision,
    earlier: int | None = None,
) -> Condition:
    """What is said of one of a mapping's groups, which is named unless it gets the requests.

    ``earlier`` is the generation that is served until this one can be.
    """
    told = _of_group(part=part, layer=layer, snapshot=snapshot, decision=decision, earlier=earlier)
    if part.place not in _BESIDE or told.message.startswith(f"{part.place}."):
        return told
    return replace(told, message=f"{part.place}: {told.message}")


def _of_group(
    *, part: Part, layer: Layer, snapshot: Snapshot, decision: Decision, earlier: int | None
) -> Condition:
    """That of its backends, the worst of several first.

    When these can be told, and are not healthy enough together, that is what counts.
    """
    group = part.group
    without = _BESIDE.get(part.place) or (
        "the fallback is served" if group.fallback else _WITHOUT_ENDPOINTS[layer]
    )
    unknown = decision.outcome is Outcome.UNKNOWN
    meanwhile = (
        f"nginx keeps what it has of this upstream, or {without}"
        if earlier is None
        else f"generation {earlier}, which was served before, is served on"
    )
    # A group has its backends in an order of its own: the service says which of several it is.
    field = f"{part.place}.backends{'[0].service' if len(group.queries) == 1 else ''}"
    found = [
        _resolved(
            field=field,
            query=query,
            observation=snapshot.get(query, UNKNOWN),
            selection=selection,
            without=without,
            meanwhile=meanwhile if unknown else None,
            policy=group.policy,
        )
        for query, selection in zip(group.queries, decision.selections, strict=True)
    ]
    worst = min(found, key=_badness)
    served = [] if unknown else [item for item in found if item.is_true]
    if worst.status is not Status.UNKNOWN and not _is_refusal(worst):
        ailing = _ailing(group=group, decision=decision, without=without)
        if ailing is not None:
            return ailing
    if worst.is_true:
        resting = decision.resting
        rest = f"; {resting} more must stay healthy for health.holdDown first" if resting else ""
        return condition(
            Status.TRUE, worst.reason, "; ".join(item.message for item in found) + rest
        )
    others = "; the other backends are served" if served else ""
    return condition(worst.status, worst.reason, f"{worst.message}{others}")


def together(told: Sequence[Condition]) -> Condition:
    """The condition of a mapping: that of its groups, the worst first, and all that is amiss."""
    if len(told) == 1:
        return told[0]
    worst = min(told, key=_badness)
    others = [item for item in told if item is not worst and item.is_true == worst.is_true]
    return condition(
        worst.status, worst.reason, "; ".join(item.message for item in (worst, *others))
    )


def _badness(found: Condition) -> tuple[int, bool]:
    return _WORST_FIRST[found.status], not _is_refusal(found)


def _is_refusal(found: Condition) -> bool:
    return found.reason == "ConsulRefused"


def _ailing(*, group: BackendGroup, decision: Decision, without: str) -> Condition | None:
    """Of a group that is not healthy enough, but not simply without an instance."""
    services = ", ".join(map(str, group.queries))
    healthy = (
        f"{decision.healthy} instances of {services} are healthy, health.minHealthy is "
        f"{group.policy.min_healthy}"
    )
    if decision.outcome is Outcome.KEPT:
        return condition(
            Status.FALSE,
            "EndpointsKept",
            f"{healthy}; {decision.kept} that were before are served on, at most until "
            f"{_time(decision.until)}",
        )
    if decision.outcome is Outcome.TOO_FEW:
        return condition(Status.FALSE, "TooFewHealthy", f"{healthy}; only these are served")
    if decision.outcome is Outcome.EMPTY and decision.healthy:
        return condition(Status.FALSE, "TooFewHealthy", f"{healthy}; {without}")
    return None


def _resolved(
    *,
    field: str,
    query: ServiceQuery,
    observation: Observation,
    selection: EndpointSelection | None,
    without: str,
    meanwhile: str | None,
    policy: HealthPolicy,
) -> Condition:
    """That of one backend; ``selection`` is None when Consul never answered.

    ``meanwhile`` is what is served while the group's endpoints are unknown, None: they are known.
    """
    if observation.error is not None:
        served = (
            "nginx keeps the endpoints it has, but for Pods that are gone"
            if observation.instances is not None
            else f"it never answered that; {meanwhile or 'it counts as one without instances'}"
        )
        failed = (
            f"for {query} since {_time(observation.failing_since)}: {observation.error}; {served}"
        )
        if observation.refused:
            return condition(
                Status.FALSE,
                "ConsulRefused",
                f"{field}: Consul refuses the query {failed}; correct the backend, or what the "
                "token may read",
            )
        return condition(Status.UNKNOWN, "ConsulUnreachable", f"Consul does not answer {failed}")
    if selection is None:
        served = f"; {meanwhile}" if meanwhile is not None else ""
        return condition(
            Status.UNKNOWN, "Pending", f"Consul has not answered for {query} yet{served}"
        )
    dropped = "".join(
        f"; {item.count} dropped: {item.reason}, such as {item.first}" for item in selection.dropped
    )
    if selection.endpoints and query.near and not observation.nearest_first:
        return condition(
            Status.FALSE,
            "NodeNotLocated",
            f"{field.removesuffix('.service')}.near.node: {query.near}: Consul has no coordinates "
            f"of this node, or they may not be read (node:read): {len(selection.endpoints)} of "
            f"{selection.total} instances of {query} are served, however far{dropped}",
        )
    if selection.endpoints:
        return condition(
            Status.TRUE,
            "ResolvedRefs",
            f"{len(selection.endpoints)} of {selection.total} instances of {query} "
            f"are served{dropped}",
        )
    if selection.total:
        healthy = "passing or warning" if policy.warning else "passing"
        return condition(
            Status.FALSE,
            "NoHealthyEndpoints",
            f"none of {selection.total} instances of {query} is {healthy} and usable; "
            f"{without}{dropped}",
        )
    return condition(
        Status.FALSE,
        "ServiceNotFound",
        f"{field}: Consul knows no instance of {query}; {without}",
    )


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
