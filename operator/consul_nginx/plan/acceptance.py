"""Which mappings are in use: the older one wins, whatever the order of events.

A claim is what only one mapping can have: requests for a host and path of an HTTP listener that are
like this and that, a host of a TLS listener, or all of a TCP or UDP listener.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.listener import Listener
from consul_nginx.model.mapping import Path, ServiceMapping
from consul_nginx.model.remembered import by_identity
from consul_nginx.model.request_match import ANY_REQUEST, RequestMatch
from consul_nginx.model.template import TemplateUse
from consul_nginx.model.verdict import Condition, accepted, rejected
from consul_nginx.plan.own_templates import objection_to_mappings
from consul_nginx.plan.permissions import (
    Permissions,
    listener_objection,
    namespace_objection,
    policy_objection,
)

_NOTHING: Mapping[str, ServiceMapping] = MappingProxyType({})
_EVERYTHING = Permissions()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """``hostname`` None: every host that nobody names; ``path`` None: where there are no paths.

    ``whole``: a TCP or UDP port can't be shared.
    """

    listener: str
    hostname: str | None = None
    path: Path | None = None
    match: RequestMatch = ANY_REQUEST
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"listener {self.listener}"
        host = self.hostname if self.hostname is not None else "any host"
        path = f" with path {self.path}" if self.path is not None else ""
        match = f" and {self.match}" if not self.match.is_any else ""
        return f"{host}{path}{match} on listener {self.listener}"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The verdict on every mapping, and by uid the earlier forms that stand in for rejected ones.

    ``used`` has the forms that are served, by uid; ``awaiting`` those that are accepted, and in
    whose place an earlier form is used until they can be served.
    """

    verdicts: tuple[tuple[ServiceMapping, Condition], ...]
    stand_ins: Mapping[str, ServiceMapping]
    used: Mapping[str, ServiceMapping]
    awaiting: Mapping[str, ServiceMapping]

    @property
    def queries(self) -> frozenset[ServiceQuery]:
        """What Consul has to be asked: of what is not accepted, nothing.

        Whoever may not map a service must neither hear of its instances nor take up connections.
        """
        asking = (*self.used.values(), *self.awaiting.values())
        return frozenset(query for mapping in asking for query in mapping.queries)


def accept(
    *,
    load_balancer: LoadBalancer,
    mappings: Iterable[ServiceMapping],
    remembered: Mapping[str, ServiceMapping] = _NOTHING,
    permissions: Permissions = _EVERYTHING,
    templates: tuple[TemplateUse, ...] = (),
    awaited: Collection[str] = (),
) -> Acceptance:
    """Go through the mappings by age: who comes first has what it claims.

    The result does not depend on the order of ``mappings``. ``remembered`` has, by uid, the last
    accepted form of mappings that still exist, those that are invalid now included; one whose
    mapping is rejected is tried in the same place of the row. All of them are bound to
    ``load_balancer`` (``bound``). ``templates`` are those in force, which leave nothing of their
    listeners to mappings. ``awaited`` are uids of mappings that can't be served in their present
    form yet (``awaited`` in ``awaiting.py``): the remembered one is used, and claims what it did.
    The same object again while all that is given is the same: most changes are Consul's, which has
    no say in it.
    """
    given = _Given(
        mappings=tuple(mappings),
        remembered=remembered,
        permissions=permissions,
        templates=templates,
        awaited=frozenset(awaited),
    )
    latest = _latest(load_balancer)
    if latest.made is None or latest.given != given:
        latest.given, latest.made = given, _gone_through(load_balancer, given)
    return latest.made


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What is accepted or not, and by what."""

    mappings: tuple[ServiceMapping, ...]
    remembered: Mapping[str, ServiceMapping]
    permissions: Permissions
    templates: tuple[TemplateUse, ...]
    awaited: frozenset[str]


@dataclass
class _Latest:
    """What was given last, and what came out."""

    given: _Given | None = None
    made: Acceptance | None = None


@by_identity
def _latest(_: LoadBalancer) -> _Latest:
    return _Latest()


def _gone_through(load_balancer: LoadBalancer, given: _Given) -> Acceptance:
    permissions, remembered = given.permissions, given.remembered
    by_name = {listener.name: listener for listener in load_balancer.listeners}
    owners: dict[Claim, ObjectRef] = {}

    def objection_to(mapping: ServiceMapping) -> Condition | None:
        listener = by_name.get(mapping.listener)
        # First, so that a stranger does not hear of listeners.
        stranger = namespace_objection(
            mapping=mapping,
            load_balancer=load_balancer,
            listener=listener,
            permissions=permissions,
        )
        if stranger is not None:
            return stranger
        if listener is None:
            return _no_such_listener(mapping=mapping, names=sorted(by_name))
        return (
            policy_objection(mapping=mapping, listener=listener, policy=permissions.policy)
            or objection_to_mappings(listener, in_force=given.templates)
            or listener_objection(mapping=mapping, listener=listener)
            or _unsupported(mapping=mapping, listener=listener)
            or _users_elsewhere(mapping)
            or _conflict(mapping=mapping, listener=listener, owners=owners)
        )

    verdicts: list[tuple[ServiceMapping, Condition]] = []
    stand_ins: dict[str, ServiceMapping] = {}
    used: dict[str, ServiceMapping] = {}
    awaiting: dict[str, ServiceMapping] = {}
    present = {mapping.meta.uid: mapping for mapping in given.mappings}
    for uid, _ in sorted({**remembered, **present}.items(), key=lambda item: _age(item[1])):
        if (mapping := present.get(uid)) is not None:
            objection = objection_to(mapping)
            verdicts.append((mapping, objection or accepted()))
            if objection is None:
                used[uid] = mapping
        earlier = remembered.get(uid) if uid not in used or uid in given.awaited else None
        if earlier and not objection_to(earlier):
            if uid in used:
                awaiting[uid] = used[uid]
            else:
                stand_ins[uid] = earlier
            used[uid] = earlier
        if (served := used.get(uid)) is not None:
            claimed = claims(mapping=served, listener=by_name[served.listener])
            owners.update(dict.fromkeys(claimed, served.meta.ref))
    return Acceptance(verdicts=tuple(verdicts), stand_ins=stand_ins, used=used, awaiting=awaiting)


def claims(*, mapping: ServiceMapping, listener: Listener) -> list[Claim]:
    """What ``mapping`` takes of its listener."""
    if not listener.protocol.has_hostnames:
        return [Claim(listener=listener.name, whole=True)]
    path = mapping.path if listener.protocol.is_http else None
    hostnames: tuple[str | None, ...] = mapping.hostnames or (None,)
    return [
        Claim(listener=listener.name, hostname=hostname, path=path, match=mapping.match)
        for hostname in hostnames
    ]


def with_stand_in(condition: Condition, generation: int | None) -> Condition:
    """A rejection that also says which earlier generation is served meanwhile, if one is."""
    if generation is None:
        return condition
    served = f"; generation {generation}, accepted last, is served on"
    return replace(condition, message=f"{condition.message}{served}")


def load_balancer_not_found(ref: ObjectRef) -> Condition:
    """``Accepted`` of a mapping that names a LoadBalancer which isn't there."""
    return rejected(
        reason="LoadBalancerNotFound",
        message=(
            f"spec.loadBalancerRef.name: namespace {ref.namespace} has no "
            f"LoadBalancer {ref.name!r}; create it or name another one"
        ),
    )


def _age(mapping: ServiceMapping) -> tuple[str, ObjectRef]:
    return mapping.meta.created, mapping.meta.ref


def _no_such_listener(*, mapping: ServiceMapping, names: list[str]) -> Condition:
    return rejected(
        reason="NoMatchingListener",
        message=(
            f"spec.listener: {mapping.listener!r} is not a listener of LoadBalancer "
            f"{mapping.load_balancer.name}; it has: {', '.join(names)}"
        ),
    )


def _unsupported(*, mapping: ServiceMapping, listener: Listener) -> Condition | None:
    """What a mapping says that its listener does not understand."""
    http = listener.protocol.is_http
    foreign = mapping.stream_fields if http else mapping.http_fields
    if listener.protocol.has_hostnames:
        foreign = tuple(name for name in foreign if name != "spec.hostnames")
    if listener.https_redirect is not None:
        why = "sends everything to HTTPS (its httpsRedirect) and has no mappings"
        return _rejected(field="spec.listener", why=f"listener {listener.name} {why}")
    if foreign:
        kind = "TCP" if http else "HTTP"
        return _rejected(
            field=", ".join(_with_value(name, mapping) for name in foreign),
            why=(
                f"listener {listener.name} speaks {listener.protocol}, and that is for {kind}; "
                f"leave it out, or name a listener that speaks {kind}"
            ),
        )
    return None


def _users_elsewhere(mapping: ServiceMapping) -> Condition | None:
    """nginx pods read Secrets of their own namespace, and no mapping names one of another's."""
    auth, own = mapping.traffic.basic_auth, mapping.meta.ref.namespace
    there = mapping.load_balancer
    if auth is None or own == there.namespace:
        return None
    return _rejected(
        field=f"spec.basicAuth.secretRef.name: {auth.secret}",
        why=(
            f"the pods of LoadBalancer {there} read Secrets of their own namespace only, and this "
            f"one is in {own}; name a LoadBalancer of {own}, or have the mapping in "
            f"{there.namespace}"
        ),
    )


def _with_value(name: str, mapping: ServiceMapping) -> str:
    """A field as people find it; what it says where that is short."""
    values = {"spec.hostnames": ", ".join(mapping.hostnames), "spec.path": str(mapping.path)}
    return f"{name}: {values[name]}" if name in values else name


def _rejected(*, field: str, why: str) -> Condition:
    return rejected(reason="UnsupportedValue", message=f"{field}: {why}")


def _conflict(
    *, mapping: ServiceMapping, listener: Listener, owners: Mapping[Claim, ObjectRef]
) -> Condition | None:
    taken = next((c for c in claims(mapping=mapping, listener=listener) if c in owners), None)
    if taken is None:
        return None
    if taken.whole:
        fields, way_out = "spec.listener", "name another listener"
    elif taken.path is None:
        fields, way_out = "spec.hostnames", "choose another host"
    else:
        fields = "spec.hostnames, spec.path, spec.match"
        way_out = "choose another host, path or match"
    return rejected(
        reason="Conflicted",
        message=(
            f"{fields}: {taken} belongs to the older ServiceMapping {owners[taken]}; {way_out}, "
            "or delete that mapping"
        ),
    )
