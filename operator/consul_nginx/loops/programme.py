"""What a LoadBalancer's nginx was told last: what people are told of it is made from that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consul_nginx.kube.bundle_store import Written
from consul_nginx.loops.gathering import Gathered
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.kubernetes import LoadBalancer, Meta
from consul_nginx.model.listener import Listener
from consul_nginx.model.verdict import Condition
from consul_nginx.nginx.certificates import certificate_file
from consul_nginx.nginx.render import listener_file, own_file
from consul_nginx.nginx.substitute import Substituted
from consul_nginx.plan.acceptance import with_stand_in
from consul_nginx.plan.certificates import Certificates
from consul_nginx.plan.listener_tls import certificate_groups, certificate_id
from consul_nginx.plan.load_balancer import Plan, listener_id
from consul_nginx.plan.own_templates import conditions, uses


@dataclass(frozen=True, kw_only=True)
class Programme:
    """What a LoadBalancer's nginx was told last, or would be if it were not paused.

    ``accepted`` is the verdict on the LoadBalancer itself: when it is a rejection, an earlier form
    of it was planned; ``load_balancer`` is the form that was. ``contained`` says for each object,
    by uid, its generation and the first revision with it. ``proven`` is what nginx ran of its files
    before (``State``). ``rejected`` has the listeners that nginx refused, and why; ``templates``
    what keeps templates from having a text.
    """

    accepted: Condition
    load_balancer: LoadBalancer
    certificates: Certificates
    plan: Plan
    paused: bool
    bundle: Bundle
    proven: Mapping[str, str]
    rejected: Mapping[str, str]
    templates: tuple[Condition, ...]
    revision: int
    written_at: float
    contained: Mapping[str, tuple[int, int]]

    def first_revision(self, meta: Meta) -> int | None:
        """First revision that contains this generation of an object; None: not written yet."""
        generation, revision = self.contained.get(meta.uid, (None, None))
        return revision if generation == meta.generation else None


def programme_of(
    *,
    gathered: Gathered,
    plan: Plan,
    proven: Mapping[str, str],
    substituted: Substituted,
    written: Written,
    at: float,
    before: Programme | None,
) -> Programme:
    """What was told now, ``at`` a monotonic time, after ``before``."""
    ref, bundle = gathered.load_balancer.meta.ref, substituted.bundle
    rejected = {
        **_rejected(
            gathered.load_balancer, substituted.reasons, certificates=gathered.certificates
        ),
        **gathered.templates.refused,
    }
    problems = conditions(gathered.templates.problems, namespace=ref.namespace)
    contained = dict(before.contained) if before is not None else {}
    if bundle.hash == written.hash:
        metas = [
            item.meta
            for item in gathered.mappings
            if item.listener not in rejected and item.meta.uid not in plan.awaiting
        ]
        if gathered.accepted.is_true and not rejected and not problems:
            metas.append(gathered.load_balancer.meta)
        contained = {
            meta.uid: contained[meta.uid]
            if contained.get(meta.uid, (None, 0))[0] == meta.generation
            else (meta.generation, written.revision)
            for meta in metas
        }
    return Programme(
        accepted=with_stand_in(
            gathered.accepted,
            None if gathered.accepted.is_true else gathered.load_balancer.meta.generation,
        ),
        load_balancer=gathered.load_balancer,
        certificates=gathered.certificates,
        plan=plan,
        bundle=bundle,
        proven=proven,
        rejected=rejected,
        templates=problems,
        paused=gathered.load_balancer.paused,
        revision=written.revision,
        written_at=at,
        contained=contained,
    )


def _rejected(
    load_balancer: LoadBalancer, reasons: Mapping[str, str], *, certificates: Certificates
) -> dict[str, str]:
    """Listeners and fields whose files nginx refused, by name, and why."""
    listeners = {
        listener.name: reasons[file]
        for listener in load_balancer.listeners
        for file in _files_of(listener, certificates)
        if file in reasons
    }
    templates = {
        use.listener or use.field: reasons[file]
        for use in uses(load_balancer)
        if (file := own_file(use.id)) in reasons
    }
    return {**listeners, **templates}


def _files_of(listener: Listener, certificates: Certificates) -> Iterator[str]:
    """Those of the bundle that nginx may refuse alone."""
    if listener.tls is not None:
        for group in certificate_groups(listener.tls, usable=certificates.usable):
            yield certificate_file(certificate_id(group))
    yield listener_file(listener_id(listener))
