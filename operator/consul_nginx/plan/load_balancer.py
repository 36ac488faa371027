"""Resources and Consul's snapshot in; what nginx should be, and a verdict on each mapping, out.

Pure: no clock, no I/O; the time is told.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from consul_nginx.model.certificates import Certificate
from consul_nginx.model.consul import ConsulSource, ServiceQuery, Snapshot
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.listener import Listener, Protocol
from consul_nginx.model.mapping import BackendGroup, ExternalAuth, Mirror, Part, ServiceMapping
from consul_nginx.model.nginx import (
    Authorization,
    Configuration,
    HttpListener,
    Layer,
    Mirroring,
    OwnPart,
    Proxy,
    Reply,
    Route,
    StreamListener,
    StreamServer,
    Target,
    Upstream,
    VirtualHost,
    layer_of,
)
from consul_nginx.model.remembered import by_identity
from consul_nginx.model.template import OwnText
from consul_nginx.model.verdict import Condition
from consul_nginx.plan.acceptance import Acceptance, claims, with_stand_in
from consul_nginx.plan.authorities import Findings, authority_slots, with_authorities
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.health import Decision, Outcome
from consul_nginx.plan.listener_tls import (
    certificate_slots,
    reads_sni,
    shown_for,
    termination,
    with_names_of_certificates,
)
from consul_nginx.plan.own_templates import covered
from consul_nginx.plan.paths import by_precedence, locations
from consul_nginx.plan.resolution import answered_by_nginx, not_asked, resolved, together
from consul_nginx.plan.survey import NONE_GONE, GonePods
from consul_nginx.plan.upstreams import decide_group, merged, upstream, upstream_id
from consul_nginx.plan.users import NO_USERS, Users, users_slots, with_users

NO_AUTHORITIES: Findings = MappingProxyType({})
NO_CERTIFICATES: Mapping[str, Certificate] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class MappingVerdict:
    """What the plan says of one mapping.

    ``selection`` is None when Consul was not asked, or has not answered for all of it; ``health``
    only when it was not asked. ``fallback`` counts the fallback's endpoints that are served.
    """

    accepted: Condition
    resolved: Condition
    selection: EndpointSelection | None = None
    health: Decision | None = None
    fallback: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What nginx should be, and the verdict on every mapping that names this LoadBalancer.

    ``stand_ins`` has, by uid, the earlier forms that are served for rejected mappings, ``awaiting``
    the present forms of those that are accepted and not served yet (``Acceptance``). ``kept``
    are queries of which instances are served that are not healthy. At ``again``, in seconds since
    the epoch, the plan is another one though nothing changed.
    """

    configuration: Configuration
    mappings: tuple[tuple[ServiceMapping, MappingVerdict], ...]
    stand_ins: Mapping[str, ServiceMapping]
    awaiting: Mapping[str, ServiceMapping]
    kept: frozenset[ServiceQuery]
    again: float | None


def plan_load_balancer(
    *,
    load_balancer: LoadBalancer,
    acceptance: Acceptance,
    snapshot: Snapshot,
    gone: GonePods = NONE_GONE,
    now: float = 0.0,
    certificates: Mapping[str, Certificate] = NO_CERTIFICATES,
    authorities: Findings = NO_AUTHORITIES,
    users: Users = NO_USERS,
    own: tuple[OwnText, ...] = (),
) -> Plan:
    """Decide what nginx should be, with what was accepted of the mappings (``accept``).

    ``now``, in seconds since the epoch, matters where the snapshot tells of what was before.
    ``certificates`` are those that listeners can use, by the name of their Secret
    (``resolve_certificates``), ``authorities`` what mappings verify their backends by,
    ``users`` those that they let in.
    ``own`` are the templates in force, as ``accept`` was told of them.
    """
    in_force = tuple(one.use for one in own)
    listeners = {listener.name: listener for listener in load_balancer.listeners}
    used = tuple(acceptance.used.values())
    decisions = {
        group: decide_group(group=group, snapshot=snapshot, gone=gone, now=now)
        for group in {
            group for item in (*used, *acceptance.awaiting.values()) for group in item.groups
        }
    }
    again = [item.again for item in decisions.values() if item.again is not None]
    return Plan(
        configuration=Configuration(
            listeners=tuple(
                _http_listener(listener=listener, mappings=used, certificates=certificates)
                for listener in _by_port(listeners.values())
                if listener.protocol.is_http and covered(listener, in_force) is None
            ),
            streams=tuple(
                _stream_listener(listener=listener, mappings=mappings, certificates=certificates)
                for listener in sorted(listeners.values(), key=lambda item: item.name)
                if not listener.protocol.is_http
                and (mappings := [item for item in used if item.listener == listener.name])
            ),
            upstreams=_upstreams(used=used, listeners=listeners, decisions=decisions),
            reload=load_balancer.reload,
            ip_families=load_balancer.ip_families,
            certificates=certificate_slots(load_balancer=load_balancer, usable=certificates),
            authorities=authority_slots(
                load_balancer=load_balancer, mappings=used, findings=authorities
            ),
            users=users_slots(mappings=used, users=users),
            own_parts=tuple(
                OwnPart(id=one.use.id, layer=one.use.layer, text=one.text) for one in own
            ),
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
                    decisions=decisions,
                    authorities=authorities,
                    users=users,
                ),
            )
            for mapping, condition in acceptance.verdicts
        ),
        stand_ins=acceptance.stand_ins,
        awaiting=acceptance.awaiting,
        kept=frozenset(
            query
            for group, decision in decisions.items()
            if decision.kept
            for query in group.queries
        ),
        again=min(again, default=None),
    )


def bound(*, mapping: ServiceMapping, load_balancer: LoadBalancer) -> ServiceMapping:
    """A mapping that asks the Consul, and if it names none the datacenter, of its LoadBalancer."""
    place = load_balancer.consul, load_balancer.datacenter
    known = _bound(mapping)
    if place not in known:
        known[place] = _bound_to(mapping, source=place[0], datacenter=place[1])
    return known[place]


@by_identity
def _bound(_: ServiceMapping) -> dict[tuple[ConsulSource, str], ServiceMapping]:
    """Forms of a mapping by what they are bound to."""
    return {}


def _bound_to(mapping: ServiceMapping, *, source: ConsulSource, datacenter: str) -> ServiceMapping:
    def bound_there(group: BackendGroup) -> BackendGroup:
        backends = tuple(
            replace(
                backend,
                query=replace(
                    backend.query, source=source, datacenter=backend.query.datacenter or datacenter
                ),
            )
            for backend in group.backends
        )
        return replace(group, backends=backends)

    # A copy also of what has none: what is remembered of a mapping must not keep it.
    return mapping.with_groups(bound_there)


def _verdict(
    *,
    condition: Condition,
    acceptance: Acceptance,
    mapping: ServiceMapping,
    listeners: Mapping[str, Listener],
    snapshot: Snapshot,
    decisions: Mapping[BackendGroup, Decision],
    authorities: Findings,
    users: Users,
) -> MappingVerdict:
    served = acceptance.used.get(mapping.meta.uid)
    if served is None:
        return MappingVerdict(accepted=condition, resolved=not_asked())
    awaiting = acceptance.awaiting.get(mapping.meta.uid)
    if awaiting is not None:
        told = [
            resolved(
                part=part,
                layer=layer_of(listeners[awaiting.listener]),
                snapshot=snapshot,
                decision=decisions[part.group],
                earlier=served.meta.generation,
            )
            for part in awaiting.parts
        ]
        return MappingVerdict(accepted=condition, resolved=together(told))
    stand_in = acceptance.stand_ins.get(mapping.meta.uid)
    accepted = with_stand_in(condition, stand_in.meta.generation if stand_in else None)
    if served.group is None:
        return MappingVerdict(accepted=accepted, resolved=answered_by_nginx())
    layer = layer_of(listeners[served.listener])
    told = [
        _told(part=part, layer=layer, snapshot=snapshot, decision=decisions[part.group])
        for part in served.parts
    ]
    decision = decisions[served.group]
    of_authorities = with_authorities(together(told), mapping=served, findings=authorities)
    return MappingVerdict(
        accepted=accepted,
        resolved=with_users(of_authorities, mapping=served, users=users),
        selection=merged(decision.selections),
        health=decision,
        fallback=len(served.group.fallback) if decision.outcome is Outcome.EMPTY else 0,
    )


def _told(*, part: Part, layer: Layer, snapshot: Snapshot, decision: Decision) -> Condition:
    known = _known(decision)
    if (part.place, layer) not in known:
        known[part.place, layer] = resolved(
            part=part, layer=layer, snapshot=snapshot, decision=decision
        )
    return known[part.place, layer]


@by_identity
def _known(_: Decision) -> dict[tuple[str, Layer], Condition]:
    """``ResolvedRefs`` of a decision by who needs it; another observation makes another one."""
    return {}


def _by_port(listeners: Iterable[Listener]) -> list[Listener]:
    return sorted(listeners, key=lambda item: item.port)


def listener_id(listener: Listener) -> str:
    """Name of a listener's file."""
    return hashlib.sha256(listener.name.encode()).hexdigest()[:16]


@dataclass
class _Latest:
    """What a listener was made of last, and what came out."""

    mappings: tuple[ServiceMapping, ...] = ()
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    made: HttpListener | None = None


@by_identity
def _latest(_: Listener) -> _Latest:
    return _Latest()


def _http_listener(
    *,
    listener: Listener,
    mappings: Iterable[ServiceMapping],
    certificates: Mapping[str, Certificate],
) -> HttpListener:
    """The same object again while its mappings are the same ones, and the certificates equal."""
    own = tuple(mapping for mapping in mappings if mapping.listener == listener.name)
    latest = _latest(listener)
    same = len(own) == len(latest.mappings) and all(map(operator.is_, own, latest.mappings))
    if latest.made is None or not same or latest.certificates != certificates:
        made = _made(listener=listener, mappings=own, certificates=certificates)
        latest.mappings, latest.certificates, latest.made = own, certificates, made
    return latest.made


def _made(
    *,
    listener: Listener,
    mappings: tuple[ServiceMapping, ...],
    certificates: Mapping[str, Certificate],
) -> HttpListener:
    hosts: dict[str | None, list[Route]] = {}
    for mapping in mappings:
        route = _route(mapping)
        for claim in claims(mapping=mapping, listener=listener):
            hosts.setdefault(claim.hostname, []).append(route)
    if listener.tls is not None and listener.https_redirect is None:
        # A name that only a certificate has is answered as any other that no mapping has.
        by_name = {**hosts, None: hosts.get(None, [])}
        by_name = with_names_of_certificates(by_name, tls=listener.tls, usable=certificates)
        hosts = {name: routes for name, routes in by_name.items() if name is not None or routes}
    return HttpListener(
        id=listener_id(listener),
        port=listener.port,
        hosts=tuple(
            replace(
                _host(hostname=hostname, routes=by_precedence(routes)),
                certificate=shown_for(hostname, tls=listener.tls, usable=certificates),
            )
            for hostname, routes in sorted(hosts.items(), key=lambda item: item[0] or "")
        ),
        tls=termination(listener.tls, usable=certificates),
        http2=listener.http2,
        https_redirect=listener.https_redirect,
        client_address=listener.client_address,
        access_log=listener.access_log,
    )


def _host(*, hostname: str | None, routes: tuple[Route, ...]) -> VirtualHost:
    return VirtualHost(hostname=hostname, routes=routes, locations=locations(routes))


def _route(mapping: ServiceMapping) -> Route:
    if mapping.group is not None:
        proxy = Proxy(
            target=_target(mapping.group),
            traffic=mapping.traffic,
            limited=_limited(mapping),
            mirroring=_mirroring(mapping.mirror),
            authorization=_authorization(mapping.external_auth),
        )
        return Route(path=mapping.path, action=proxy, match=mapping.match)
    if mapping.answer is None:
        raise ValueError(f"mapping {mapping.meta.ref} has neither backends nor an answer")
    reply = Reply(answer=mapping.answer, headers=mapping.traffic.response_headers)
    return Route(path=mapping.path, action=reply, match=mapping.match)


def _target(group: BackendGroup) -> Target:
    return Target(upstream=upstream_id(group), protocol=group.protocol, tls=group.tls)


def _mirroring(mirror: Mirror | None) -> Mirroring | None:
    return None if mirror is None else Mirroring(target=_target(mirror.group), mirror=mirror)


def _authorization(auth: ExternalAuth | None) -> Authorization | None:
    return None if auth is None else Authorization(target=_target(auth.group), auth=auth)


def _limited(mapping: ServiceMapping) -> str:
    """Identity of a mapping where something of it is counted."""
    return hashlib.sha256(str(mapping.meta.ref).encode()).hexdigest()[:16]


def _stream_listener(
    *,
    listener: Listener,
    mappings: Iterable[ServiceMapping],
    certificates: Mapping[str, Certificate],
) -> StreamListener:
    servers: dict[str | None, StreamServer] = {
        claim.hostname: _stream_server(hostname=claim.hostname, mapping=mapping)
        for mapping in mappings
        for claim in claims(mapping=mapping, listener=listener)
    }
    if listener.tls is not None:
        servers = with_names_of_certificates(servers, tls=listener.tls, usable=certificates)
    return StreamListener(
        id=listener_id(listener),
        port=listener.port,
        udp=listener.protocol is Protocol.UDP,
        servers=tuple(
            replace(
                server,
                hostname=hostname,
                certificate=shown_for(hostname, tls=listener.tls, usable=certificates),
            )
            for hostname, server in sorted(servers.items(), key=lambda item: item[0] or "")
        ),
        tls=termination(listener.tls, usable=certificates),
        reads_sni=reads_sni(listener.tls),
        client_address=listener.client_address,
        access_log=listener.access_log,
    )


def _stream_server(*, hostname: str | None, mapping: ServiceMapping) -> StreamServer:
    if mapping.group is None:
        # Refused before (spec.redirect, spec.fixedResponse).
        raise ValueError(f"mapping {mapping.meta.ref} has no backends")
    return StreamServer(
        hostname=hostname,
        upstream=upstream_id(mapping.group, Layer.STREAM),
        traffic=mapping.traffic,
        limited=_limited(mapping),
    )


def _upstreams(
    *,
    used: Iterable[ServiceMapping],
    listeners: Mapping[str, Listener],
    decisions: Mapping[BackendGroup, Decision],
) -> tuple[Upstream, ...]:
    wanted = {(layer_of(listeners[item.listener]), group) for item in used for group in item.groups}
    found = (
        upstream(group=group, layer=layer, selections=decisions[group].selections)
        for layer, group in wanted
    )
    return tuple(sorted(found, key=lambda item: (item.layer, item.id)))
