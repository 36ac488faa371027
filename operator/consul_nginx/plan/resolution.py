"""``ResolvedRefs``: what Consul says of a mapping's backend, in words. Pure."""

from __future__ import annotations

from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.nginx import Layer
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.plan.endpoints import EndpointSelection

_WITHOUT_ENDPOINTS = {
    Layer.HTTP: "nginx answers 503",
    Layer.STREAM: "nginx closes connections at once",
}


def not_asked() -> Condition:
    """The condition of a mapping that is not in use in any form."""
    return Condition(
        type="ResolvedRefs",
        status=Status.UNKNOWN,
        reason="NotAccepted",
        message="Consul is not asked until it is accepted",
    )


def resolved(
    *,
    query: ServiceQuery,
    layer: Layer,
    observation: Observation,
    selection: EndpointSelection | None,
) -> Condition:
    """The condition; ``selection`` is None when Consul never answered."""

    def condition(status: Status, reason: str, message: str) -> Condition:
        return Condition(type="ResolvedRefs", status=status, reason=reason, message=message)

    if observation.error is not None:
        failed = (
            f"for {query} since {observation.failing_since}: {observation.error}; "
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
        f"spec.backends[0].service: Consul knows no instance of {query}; "
        f"{_WITHOUT_ENDPOINTS[layer]}",
    )
