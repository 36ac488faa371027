"""Resources and Consul's snapshot in; what nginx should be, and a verdict on each mapping, out.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from consul_nginx.model.consul import UNKNOWN, Observation, ServiceQuery, Snapshot
from consul_nginx.model.kubernetes import Listener, LoadBalancer, Protocol, ServiceMapping
from consul_nginx.model.nginx import (
    Configuration,
    HttpListener,
    Layer,
    Route,
    StreamListener,
    Upstream,
    VirtualHost,
)
from consul_nginx.model.verdict import Condition
from consul_nginx.plan.acceptance import Acceptance, claims, with_stand_in
from consul_nginx.plan.endpoints import EndpointSelection, select_endpoints
from consul_nginx.plan.resolution import not_asked, resolved


@dataclass(frozen=True, kw_only=True)
class MappingVerdict:
    """What the plan says of one mapping.

    ``selection`` is None when Consul was not asked, or never answered.
    """

    accepted: Condition
    resolved: Condition
    selection: EndpointSelection | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What nginx should be, and the verdict on every mapping that names this LoadBalancer.

    ``stand_ins`` has, by uid, the earlier forms that are served for rejected mappings.
    """

    configuration: Configuration
    mappings: tuple[tuple[ServiceMapping, MappingVerdict], ...]
    stand_ins: Mapping[str, ServiceMapping]


def plan_load_balancer(
    *, load_balancer: LoadBalancer, acceptance: Acceptance, snapshot: Snapshot
) -> Plan:
    """Decide what nginx should be, with what was accepted of the mappings (``accept``)."""
    listeners = {listener.name: listener for listener in load_balancer.listeners}
    used = tuple(acceptance.used.values())
    selections = {
        query: _select(snapshot.get(query, UNKNOWN)) for query in {item.backend for item in used}
    }
    return Plan(
        configuration=Configuration(
            listeners=tuple(
                _http_listener(listener=listener, mappings=used)
                for listener in _by_port(listeners.values())
                if listener.protocol is Protocol.HTTP
            ),
            streams=tuple(
                _stream_listener(listener=listeners[mapping.listener], mapping=mapping)
                for mapping in sorted(used, key=lambda item: item.listener)
                if listeners[mapping.listener].protocol is not Protocol.HTTP
            ),
            upstreams=_upstreams(used=used, listeners=listeners, selections=selections),
            reload=load_balancer.reload,
        ),
        mappings=tuple(
            (
                mapping,
                _verdict(
                    condition=condition,
                    acceptance=acceptance,
                    mapping=mapping,
                    listeners=listeners,
                    snapshot=snapshot,
                    selections=selections,
                ),
            )
            for mapping, condition in acceptance.verdicts
        ),
        stand_ins=acceptance.stand_ins,
    )


def bound(*, mapping: ServiceMapping, load_balancer: LoadBalancer) -> ServiceMapping:
    """A mapping that asks the Consul, and if it names none the datacenter, of its LoadBalancer."""
    backend = replace(
        mapping.backend,
        source=load_balancer.consul,
        datacenter=mapping.backend.datacenter or load_balancer.datacenter,
    )
    return replace(mapping, backend=backend)


def upstream_id(query: ServiceQuery, layer: Layer = Layer.HTTP) -> str:
    """Name of a query's upstream: no text of a user's ever becomes a name in nginx."""
    identity = "\0".join((layer, query.service, query.datacenter, *query.tags))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _verdict(
    *,
    condition: Condition,
    acceptance: Acceptance,
    mapping: ServiceMapping,
    listeners: Mapping[str, Listener],
    snapshot: Snapshot,
    selections: Mapping[ServiceQuery, EndpointSelection | None],
) -> MappingVerdict:
    served = acceptance.used.get(mapping.meta.uid)
    if served is None:
        return MappingVerdict(accepted=condition, resolved=not_asked(), selection=None)
    selection = selections[served.backend]
    stand_in = acceptance.stand_ins.get(mapping.meta.uid)
    return MappingVerdict(
        accepted=with_stand_in(condition, stand_in.meta.generation if stand_in else None),
        resolved=resolved(
            query=served.backend,
            layer=_layer(listeners[served.listener]),
            observation=snapshot.get(served.backend, UNKNOWN),
            selection=selection,
        ),
        selection=selection,
    )


def _layer(listener: Listener) -> Layer:
    return Layer.HTTP if listener.protocol is Protocol.HTTP else Layer.STREAM


def _by_port(listeners: Iterable[Listener]) -> list[Listener]:
    return sorted(listeners, key=lambda item: item.port)


def listener_id(listener: Listener) -> str:
    """Name of a listener's file."""
    return hashlib.sha256(listener.name.encode()).hexdigest()[:16]


def _http_listener(*, listener: Listener, mappings: Iterable[ServiceMapping]) -> HttpListener:
    hosts: dict[str | None, list[Route]] = {}
    for mapping in mappings:
        if mapping.listener != listener.name:
            continue
        upstream = upstream_id(mapping.backend)
        for claim in claims(mapping=mapping, listener=listener):
            route = Route(path_prefix=mapping.path_prefix, upstream=upstream)
            hosts.setdefault(claim.hostname, []).append(route)
    return HttpListener(
        id=listener_id(listener),
        port=listener.port,
        hosts=tuple(
            VirtualHost(hostname=hostname, routes=tuple(sorted(routes)))
            for hostname, routes in sorted(hosts.items(), key=lambda item: item[0] or "")
        ),
    )


def _stream_listener(*, listener: Listener, mapping: ServiceMapping) -> StreamListener:
    return StreamListener(
        id=listener_id(listener),
        port=listener.port,
        udp=listener.protocol is Protocol.UDP,
        upstream=upstream_id(mapping.backend, Layer.STREAM),
    )


def _upstreams(
    *,
    used: Iterable[ServiceMapping],
    listeners: Mapping[str, Listener],
    selections: Mapping[ServiceQuery, EndpointSelection | None],
) -> tuple[Upstream, ...]:
    wanted = {(_layer(listeners[item.listener]), item.backend) for item in used}
    return tuple(
        Upstream(
            id=upstream_id(query, layer),
            layer=layer,
            endpoints=selection.endpoints if (selection := selections[query]) else None,
        )
        for layer, query in sorted(wanted)
    )


def _select(observation: Observation) -> EndpointSelection | None:
    if observation.instances is None:
        return None
    return select_endpoints(observation.instances)
