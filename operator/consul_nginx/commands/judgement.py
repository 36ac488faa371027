"""What the operator would accept of what files declare."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from types import MappingProxyType

from consul_nginx.commands.declared import (
    LOAD_BALANCER,
    SERVICE_MAPPING,
    Declarations,
    Declared,
)
from consul_nginx.commands.own_templates import OwnTexts
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.policy import Policy
from consul_nginx.model.template import OwnText, TemplateUse
from consul_nginx.model.verdict import Condition, accepted, rejected
from consul_nginx.plan.acceptance import Acceptance, accept, load_balancer_not_found
from consul_nginx.plan.load_balancer import bound
from consul_nginx.plan.own_templates import conditions
from consul_nginx.plan.permissions import Permissions, consul_objection, template_objection
from consul_nginx.resources.base import Invalid, invalid

_NO_TEMPLATES: OwnTexts = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``Accepted`` of one object, for people."""

    file: str
    kind: str
    ref: ObjectRef
    accepted: Condition

    @property
    def source(self) -> str:
        """The object."""
        return f"{self.kind} {self.ref}"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A LoadBalancer that is accepted, and what is accepted of the mappings that name it.

    ``own`` are its templates that have a text.
    """

    verdict: Verdict
    load_balancer: LoadBalancer
    acceptance: Acceptance
    own: tuple[OwnText, ...]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Every object's verdict: LoadBalancers first, each kind in the order of the files."""

    verdicts: tuple[Verdict, ...]
    judged: tuple[Judged, ...]

    @property
    def rejected(self) -> tuple[Verdict, ...]:
        """What is not accepted."""
        return tuple(verdict for verdict in self.verdicts if not verdict.accepted.is_true)


def judge(
    declared: Declarations, *, policy: Policy, templates: OwnTexts = _NO_TEMPLATES
) -> Judgement:
    """Decide as the operator does that sees all these objects, and no others, for the first time.

    It remembers nothing: no earlier form is served instead of a rejected one. A LoadBalancer with a
    template that has no text is rejected, and is judged without that template all the same.
    """
    balancers = {
        item.value.meta.ref: _load_balancer(item, policy=policy) for item in declared.load_balancers
    }
    permissions = Permissions(policy=policy, namespace_labels=declared.namespace_labels)
    judged = tuple(
        Judged(
            verdict=balancers[item.value.meta.ref],
            load_balancer=item.value,
            acceptance=_acceptance(
                item.value,
                declared=declared,
                permissions=permissions,
                templates=tuple(one.use for one in _with_text(item.value, templates)),
            ),
            own=_with_text(item.value, templates),
        )
        for item in declared.load_balancers
        if isinstance(item.value, LoadBalancer) and balancers[item.value.meta.ref].accepted.is_true
    )
    decided = {
        mapping.meta.ref: condition
        for one in judged
        for mapping, condition in one.acceptance.verdicts
    }
    return Judgement(
        verdicts=(
            *(_of_templates(one, templates.get(one.ref, ())) for one in balancers.values()),
            *(
                Verdict(
                    file=item.file,
                    kind=SERVICE_MAPPING,
                    ref=item.value.meta.ref,
                    accepted=decided.get(item.value.meta.ref)
                    or _undecided(item.value, load_balancers=balancers.keys()),
                )
                for item in declared.mappings
            ),
        ),
        judged=judged,
    )


def _load_balancer(item: Declared[LoadBalancer], *, policy: Policy) -> Verdict:
    if isinstance(item.value, Invalid):
        condition = invalid(item.value)
    else:
        condition = (
            consul_objection(load_balancer=item.value, policy=policy)
            or template_objection(load_balancer=item.value, policy=policy)
            or accepted()
        )
    return Verdict(file=item.file, kind=LOAD_BALANCER, ref=item.value.meta.ref, accepted=condition)


def _with_text(load_balancer: LoadBalancer, templates: OwnTexts) -> tuple[OwnText, ...]:
    own = templates.get(load_balancer.meta.ref, ())
    return tuple(one for one in own if one.text is not None)


def _of_templates(verdict: Verdict, own: tuple[OwnText, ...]) -> Verdict:
    """A verdict that is a rejection, too, when a template has no text."""
    problems = conditions(own, namespace=verdict.ref.namespace)
    if not problems or not verdict.accepted.is_true:
        return verdict
    message = "; ".join(problem.message for problem in problems)
    return replace(verdict, accepted=rejected(reason=problems[0].reason, message=message))


def _acceptance(
    load_balancer: LoadBalancer,
    *,
    declared: Declarations,
    permissions: Permissions,
    templates: tuple[TemplateUse, ...],
) -> Acceptance:
    return accept(
        load_balancer=load_balancer,
        mappings=[
            bound(mapping=item.value, load_balancer=load_balancer)
            for item in declared.mappings
            if isinstance(item.value, ServiceMapping)
            and item.value.load_balancer == load_balancer.meta.ref
        ],
        permissions=permissions,
        templates=templates,
    )


def _undecided(
    mapping: ServiceMapping | Invalid, *, load_balancers: Collection[ObjectRef]
) -> Condition:
    """Of a mapping that no accepted LoadBalancer was asked about."""
    if isinstance(mapping, Invalid):
        return invalid(mapping)
    if mapping.load_balancer not in load_balancers:
        return load_balancer_not_found(mapping.load_balancer)
    return rejected(
        reason="LoadBalancerRejected",
        message=(
            f"spec.loadBalancerRef: LoadBalancer {mapping.load_balancer} is not accepted; "
            "correct it first"
        ),
    )
