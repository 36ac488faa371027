"""Which parts of a LoadBalancer come of its own templates, and what they are told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from consul_nginx.model.consul import Instance
from consul_nginx.model.facts import (
    UNKNOWN_FACT,
    DatacentersQuery,
    Entry,
    Facts,
    NamedService,
    Node,
    Pair,
    Question,
    Value,
    order,
)
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.listener import Listener
from consul_nginx.model.nginx import Layer, layer_of
from consul_nginx.model.template import OwnText, TemplateProblem, TemplateUse
from consul_nginx.model.verdict import Condition, Status, rejected
from consul_nginx.plan.endpoints import Unusable, endpoint_of

MAX_TOLD = 3
_NOTHING_KNOWN: Facts = MappingProxyType({})


def uses(load_balancer: LoadBalancer) -> tuple[TemplateUse, ...]:
    """Every use of a template, those of whole layers first."""
    whole = (
        ("spec.template", Layer.HTTP, load_balancer.template),
        ("spec.streamTemplate", Layer.STREAM, load_balancer.stream_template),
    )
    return (
        *(
            TemplateUse(field=field, layer=layer, listener="", source=source)
            for field, layer, source in whole
            if source is not None
        ),
        *(
            TemplateUse(
                field=f"spec.listeners[{number}].template",
                layer=layer_of(listener),
                listener=listener.name,
                source=listener.template,
            )
            for number, listener in enumerate(load_balancer.listeners)
            if listener.template is not None
        ),
    )


def covered(listener: Listener, in_force: Iterable[TemplateUse]) -> TemplateUse | None:
    """The template in force that writes a listener's part; None when mappings do."""
    return next(
        (
            use
            for use in in_force
            if use.listener == listener.name
            or (not use.listener and use.layer is layer_of(listener))
        ),
        None,
    )


def objection_to_mappings(
    listener: Listener, *, in_force: Iterable[TemplateUse]
) -> Condition | None:
    """``Accepted`` of a mapping that names a listener which a template writes."""
    use = covered(listener, in_force)
    if use is None:
        return None
    return rejected(
        reason="ListenerHasTemplate",
        message=(
            f"spec.listener: {listener.name}: is written by the LoadBalancer's own template "
            f"({use.field}, ConfigMap {use.source.name}); name another listener, or add what is "
            "wanted to the template"
        ),
    )


def bound_question(question: Question, *, load_balancer: LoadBalancer) -> Question:
    """A question to the Consul, and if it names none the datacenter, of its LoadBalancer."""
    datacenter = question.datacenter or load_balancer.datacenter
    if isinstance(question, DatacentersQuery):
        datacenter = ""
    return replace(question, source=load_balancer.consul, datacenter=datacenter)


def answer(value: Value) -> list[object]:
    """An answer of Consul's as a template sees it.

    An instance that nginx can't be told of, by the rules for mappings, is left out.
    """
    return [seen for item in value if (seen := _seen(item)) is not None]


def waiting(
    *,
    unanswered: Iterable[Question],
    absent: Iterable[Question],
    facts: Facts = _NOTHING_KNOWN,
) -> TemplateProblem:
    """Why a template has no text yet; the questions are bound."""
    reasons = [
        f"Consul does not answer for {one}: {error}"
        if (error := facts.get(one, UNKNOWN_FACT).error) is not None
        else f"Consul has not answered for {one} yet"
        for one in sorted(unanswered, key=order)
    ]
    reasons += [f"Consul has no {one}" for one in sorted(absent, key=order)]
    more = f" and {len(reasons) - MAX_TOLD} more" if len(reasons) > MAX_TOLD else ""
    return TemplateProblem(
        reason="TemplatePending", message=f"it waits: {'; '.join(reasons[:MAX_TOLD])}{more}"
    )


def conditions(own: Iterable[OwnText], *, namespace: str) -> tuple[Condition, ...]:
    """``ResolvedRefs`` for each template without a text."""
    return tuple(
        Condition(
            type="ResolvedRefs",
            status=Status.UNKNOWN if one.problem.reason == "TemplatePending" else Status.FALSE,
            reason=one.problem.reason,
            message=(
                f"{one.use.field}: ConfigMap {namespace}/{one.use.source.name}, key "
                f"{one.use.source.key}: {one.problem.message}"
            ),
        )
        for one in own
        if one.problem is not None
    )


def _seen(item: Entry | Pair | NamedService | Node | str) -> object:
    if isinstance(item, str):
        return item
    seen: Callable[[Any], dict[str, object] | None] = _SEEN[type(item)]
    return seen(item)


def _entry(item: Entry) -> dict[str, object] | None:
    endpoint = endpoint_of(
        Instance(
            id=item.id,
            node=item.node.name,
            address=item.address,
            port=item.port,
            health=item.health,
            weight=item.weight,
        )
    )
    if isinstance(endpoint, Unusable):
        return None
    return {
        "ID": item.id,
        "Name": item.name,
        "Address": endpoint.address,
        "Port": endpoint.port,
        "Tags": list(item.tags),
        "ServiceMeta": dict(item.meta),
        "Node": item.node.name,
        "NodeAddress": item.node.address,
        "NodeMeta": dict(item.node.meta),
        "Status": item.health.value,
        "Weight": endpoint.weight,
    }


_SEEN: Mapping[type[Any], Callable[[Any], dict[str, object] | None]] = {
    Entry: _entry,
    Pair: lambda item: {"Key": item.key, "Value": item.value},
    NamedService: lambda item: {"Name": item.name, "Tags": list(item.tags)},
    Node: lambda item: {"Node": item.name, "Address": item.address, "Meta": dict(item.meta)},
}
