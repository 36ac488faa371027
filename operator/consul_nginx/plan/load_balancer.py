"""The plan of one LoadBalancer: which mapping is accepted, and what nginx should be.

Invalid resource      rejected before it comes here (resources/)
unknown listener      rejected, NoMatchingListener
same host and path    the older mapping wins, the other is rejected, Conflicted
Consul never answered accepted, its upstream is *unknown*: nginx keeps what it has
no healthy instance   accepted, its upstream is empty: nginx answers 503

What is rejected goes on being served in the form that was accepted last, unless an older mapping
has the same host and path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from consul_nginx.model.consul import UNKNOWN, Observation, ServiceQuery, Snapshot
from consul_nginx.model.kubernetes import Listener, LoadBalancer, ObjectRef, ServiceMapping
from consul_nginx.model.nginx import Configuration, HttpListener, Route, Upstream, VirtualHost
from consul_nginx.model.verdict import Condition, Status, accepted, rejected
from consul_nginx.plan.endpoints import EndpointSelection, select_endpoints

_NOTHING: Mapping[str, ServiceMapping] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class MappingVerdict:
    """What the plan says of one mapping; ``selection`` is None when Consul never answered."""

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
    *,
    load_balancer: LoadBalancer,
    mappings: Iterable[ServiceMapping],
    snapshot: Snapshot,
    remembered: Mapping[str, ServiceMapping] = _NOTHING,
) -> Plan:
    """Decide; the result does not depend on the order of ``mappings``.

    ``remembered`` has, by uid, the last accepted form of mappings that still exist, those that are
    invalid now included.
    """
    acceptance = _accept(
        listeners=load_balancer.listeners, mappings=mappings, remembered=remembered
    )
    stand_ins = acceptance.stand_ins
    used = [mapping for mapping, condition in acceptance.verdicts if condition.is_true]
    used += stand_ins.values()
    selections = {
        query: _select(snapshot.get(query, UNKNOWN)) for query in {m.backend for m in used}
    }
    return Plan(
        configuration=Configuration(
            listeners=tuple(
                _listener(listener=listener, mappings=used)
                for listener in sorted(load_balancer.listeners, key=lambda item: item.port)
            ),
            upstreams=tuple(
                Upstream(
                    id=upstream_id(query),
                    endpoints=selection.endpoints if selection is not None else None,
                )
                for query, selection in sorted(selections.items())
            ),
            reload=load_balancer.reload,
        ),
        mappings=tuple(
            (
                mapping,
                _verdict(
                    condition=condition,
                    served=mapping if condition.is_true else stand_ins.get(mapping.meta.uid),
                    mapping=mapping,
                    snapshot=snapshot,
                    selections=selections,
                ),
            )
            for mapping, condition in acceptance.verdicts
        ),
        stand_ins=stand_ins,
    )


def with_stand_in(condition: Condition, stand_in: ServiceMapping | None) -> Condition:
    """A rejection that also says what is served meanwhile."""
    if stand_in is None:
        return condition
    served = f"; generation {stand_in.meta.generation}, accepted last, is served on"
    return replace(condition, message=f"{condition.message}{served}")


def _verdict(
    *,
    condition: Condition,
    served: ServiceMapping | None,
    mapping: ServiceMapping,
    snapshot: Snapshot,
    selections: Mapping[ServiceQuery, EndpointSelection | None],
) -> MappingVerdict:
    query = served.backend if served is not None else mapping.backend
    return MappingVerdict(
        accepted=condition if condition.is_true else with_stand_in(condition, served),
        resolved=_resolved(
            query=query,
            observation=snapshot.get(query, UNKNOWN),
            selection=selections.get(query),
        ),
        selection=selections.get(query) if served is not None else None,
    )


def _age(mapping: ServiceMapping) -> tuple[str, ObjectRef]:
    return mapping.meta.created, mapping.meta.ref


def upstream_id(query: ServiceQuery) -> str:
    """Name of a query's upstream: no text of a user's ever becomes a name in nginx."""
    identity = "\0".join((query.service, query.datacenter, *query.tags))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class _Acceptance:
    verdicts: tuple[tuple[ServiceMapping, Condition], ...]
    stand_ins: Mapping[str, ServiceMapping]


def _accept(
    *,
    listeners: Iterable[Listener],
    mappings: Iterable[ServiceMapping],
    remembered: Mapping[str, ServiceMapping],
) -> _Acceptance:
    """Go through the mappings by age: who comes first has the host and path.

    One that is rejected has its remembered form tried in the same place of the row.
    """
    names = sorted(listener.name for listener in listeners)
    owners: dict[tuple[str, str | None, str], ObjectRef] = {}
    verdicts: list[tuple[ServiceMapping, Condition]] = []
    stand_ins: dict[str, ServiceMapping] = {}
    present = {mapping.meta.uid: mapping for mapping in mappings}
    for uid, _ in sorted({**remembered, **present}.items(), key=lambda item: _age(item[1])):
        if (mapping := present.get(uid)) is not None:
            condition = _objection(mapping=mapping, names=names, owners=owners)
            verdicts.append((mapping, condition or accepted()))
            if condition is None:
                owners.update(dict.fromkeys(_claims(mapping), mapping.meta.ref))
                continue
        stand_in = remembered.get(uid)
        if stand_in and _objection(mapping=stand_in, names=names, owners=owners) is None:
            stand_ins[uid] = stand_in
            owners.update(dict.fromkeys(_claims(stand_in), stand_in.meta.ref))
    return _Acceptance(verdicts=tuple(verdicts), stand_ins=stand_ins)


def _objection(
    *,
    mapping: ServiceMapping,
    names: list[str],
    owners: Mapping[tuple[str, str | None, str], ObjectRef],
) -> Condition | None:
    return _no_such_listener(mapping=mapping, names=names) or _conflict(
        mapping=mapping, owners=owners
    )


def _no_such_listener(*, mapping: ServiceMapping, names: list[str]) -> Condition | None:
    if mapping.listener in names:
        return None
    return rejected(
        reason="NoMatchingListener",
        message=(
            f"spec.listener: {mapping.listener!r} is not a listener of LoadBalancer "
            f"{mapping.load_balancer.name}; it has: {', '.join(names)}"
        ),
    )


def _conflict(
    *, mapping: ServiceMapping, owners: Mapping[tuple[str, str | None, str], ObjectRef]
) -> Condition | None:
    for claim in _claims(mapping):
        if claim in owners:
            _, hostname, path = claim
            host = hostname if hostname is not None else "any host"
            return rejected(
                reason="Conflicted",
                message=(
                    f"spec.hostnames, spec.path: {host} with path {path} on listener "
                    f"{mapping.listener} belongs to the older ServiceMapping {owners[claim]}; "
                    "choose another host or path, or delete that mapping"
                ),
            )
    return None


def _claims(mapping: ServiceMapping) -> list[tuple[str, str | None, str]]:
    hostnames: tuple[str | None, ...] = mapping.hostnames or (None,)
    return [(mapping.listener, hostname, mapping.path_prefix) for hostname in hostnames]


def _listener(*, listener: Listener, mappings: Iterable[ServiceMapping]) -> HttpListener:
    hosts: dict[str | None, list[Route]] = {}
    for mapping in mappings:
        for name, hostname, path in _claims(mapping):
            if name == listener.name:
                route = Route(path_prefix=path, upstream=upstream_id(mapping.backend))
                hosts.setdefault(hostname, []).append(route)
    return HttpListener(
        id=hashlib.sha256(listener.name.encode()).hexdigest()[:16],
        port=listener.port,
        hosts=tuple(
            VirtualHost(hostname=hostname, routes=tuple(sorted(routes)))
            for hostname, routes in sorted(hosts.items(), key=lambda item: item[0] or "")
        ),
    )


def _select(observation: Observation) -> EndpointSelection | None:
    if observation.instances is None:
        return None
    return select_endpoints(observation.instances)


def _resolved(
    *, query: ServiceQuery, observation: Observation, selection: EndpointSelection | None
) -> Condition:
    def condition(status: Status, reason: str, message: str) -> Condition:
        return Condition(type="ResolvedRefs", status=status, reason=reason, message=message)

    if observation.refused:
        return condition(
            Status.UNKNOWN,
            "ConsulRefused",
            f"Consul refuses the query for {query} since {observation.failing_since}: "
            f"{observation.error}; nginx keeps the endpoints it has",
        )
    if observation.error is not None:
        return condition(
            Status.UNKNOWN,
            "ConsulUnreachable",
            f"Consul does not answer for {query} since {observation.failing_since}: "
            f"{observation.error}; nginx keeps the endpoints it has",
        )
    if selection is None:
        return condition(Status.UNKNOWN, "Pending", f"Consul has not answered for {query} yet")
    dropped = "".join(f"; {count} dropped: {why}" for why, count in selection.dropped)
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
            f"nginx answers 503{dropped}",
        )
    return condition(
        Status.FALSE,
        "ServiceNotFound",
        f"spec.backends[0].service: Consul knows no instance of {query}; nginx answers 503",
    )
