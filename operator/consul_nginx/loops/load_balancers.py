"""gather → plan → render → apply: how a LoadBalancer's nginx gets its configuration.

``reconcile`` is the whole story. What it did is remembered as a ``Programme``, from which
``reports.py`` tells people how it went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeGuard

from consul_nginx.consul.catalog import Catalog
from consul_nginx.kube.bundle_store import BundleStore, Written
from consul_nginx.kube.children import state_ref
from consul_nginx.kube.client import CONFIG_MAP, Kind, KubeClient
from consul_nginx.kube.errors import KubeConflict, KubeRefused
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.state import State, essence
from consul_nginx.loops.batching import Batcher
from consul_nginx.loops.certificates import Authorities
from consul_nginx.loops.certificates import Certificates as Secrets
from consul_nginx.loops.children import Children
from consul_nginx.loops.held import hold, with_held
from consul_nginx.loops.lead import Lead
from consul_nginx.loops.memory import Memory, Remembered
from consul_nginx.loops.own_templates import OwnTemplates
from consul_nginx.loops.refusals import Refusals
from consul_nginx.loops.resources import Resources
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.consul import UNKNOWN, PodMark, ServiceQuery, Snapshot
from consul_nginx.model.history import Recollection
from consul_nginx.model.kubernetes import LoadBalancer, Meta, ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.listener import Listener
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.pods import PodRejection
from consul_nginx.model.policy import Policy
from consul_nginx.model.verdict import Condition, accepted
from consul_nginx.nginx.certificates import certificate_file
from consul_nginx.nginx.own.choice import Templates, chosen
from consul_nginx.nginx.render import listener_file, own_file, render, served_upstreams
from consul_nginx.nginx.substitute import Substituted, exchangeable, substitute
from consul_nginx.plan.acceptance import Acceptance, accept, with_stand_in
from consul_nginx.plan.authorities import Findings, authorities_of, problems_of_clients
from consul_nginx.plan.awaiting import awaited, earlier_forms
from consul_nginx.plan.certificates import Certificates, resolve_certificates, secrets_of
from consul_nginx.plan.listener_tls import certificate_id
from consul_nginx.plan.load_balancer import (
    Plan,
    bound,
    listener_id,
    plan_load_balancer,
)
from consul_nginx.plan.own_templates import conditions, uses
from consul_nginx.plan.permissions import Permissions, consul_objection, template_objection
from consul_nginx.plan.survey import GonePods
from consul_nginx.resources.base import Invalid, invalid

FIRST_ANSWER_PATIENCE_S = 2.0
CHILDREN_NOT_SETTLED_S = 2.0


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


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    """All that a plan is made from.

    ``load_balancer`` is the form to serve: the present one, or when that is rejected the one that
    was accepted last. ``state`` is to be remembered if the plan accepts its mappings.
    ``readable`` are the Secrets that the operator may read, of those that are named.
    """

    accepted: Condition
    load_balancer: LoadBalancer
    mappings: tuple[ServiceMapping, ...]
    present: State
    memory: Remembered
    acceptance: Acceptance
    certificates: Certificates
    authorities: Findings
    readable: tuple[str, ...]
    snapshot: Snapshot
    written: Written
    gone: GonePods
    now: float
    templates: Templates


class LoadBalancers:
    """The reconcile function of the first flow, and its memory.

    ``gone`` says which of the Pods that its instances name are, ``clock`` tells seconds since the
    epoch: what is remembered outlives the process.
    """

    def __init__(
        self,
        *,
        kube: KubeClient,
        lead: Lead,
        resources: Resources,
        catalog: Catalog,
        secrets: Secrets,
        authorities: Authorities,
        batcher: Batcher,
        policy: Policy,
        own_templates: OwnTemplates,
        nginx_image: NginxImage,
        gone: Callable[[ObjectRef, Collection[PodMark]], GonePods],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kube = kube
        self._lead = lead
        self._gone = gone
        self._clock = clock
        self._resources = resources
        self._catalog = catalog
        self._secrets = secrets
        self._authorities = authorities
        self._batcher = batcher
        self._policy = policy
        self._own_templates = own_templates
        self._bundles = BundleStore(kube=kube)
        self._programmes: dict[ObjectRef, Programme] = {}
        self._refusals: dict[ObjectRef, str] = {}
        self._queries: dict[ObjectRef, frozenset[ServiceQuery]] = {}
        self._pods: dict[ObjectRef, frozenset[str]] = {}
        self._refused = Refusals()
        self._proven: dict[ObjectRef, Mapping[str, str]] = {}
        self._memory = Memory(kube=kube)
        self._children = Children(kube=kube, lead=lead, image=nginx_image)

    def programme(self, ref: ObjectRef) -> Programme | None:
        """What its nginx was told last by this process; None before the first time."""
        return self._programmes.get(ref)

    def refusal(self, ref: ObjectRef) -> str | None:
        """What the API server had against the latest reconciliation; None when it was done."""
        return self._refusals.get(ref)

    def forgotten(self, ref: ObjectRef) -> Remembered | None:
        """What is remembered, when an operator that starts now would not find all of it."""
        return self._memory.trouble(ref)

    def rejected(self, ref: ObjectRef, rejection: PodRejection) -> None:
        """All pods refuse the bundle written last, and know the files to blame."""
        programme = self._programmes.get(ref)
        if programme is None or programme.bundle.hash != rejection.hash:
            return
        files = {
            name: programme.bundle.files[name]
            for name in rejection.files or ()
            if name in programme.bundle.files
        }
        passing = rejection.stage != "test"
        if self._refused.note(ref, files=files, message=str(rejection), passing=passing):
            self._batcher.changed(ref)

    def proved(self, ref: ObjectRef, programme: Programme) -> None:
        """All pods run what ``programme`` told them; it is ignored when it is not the last one."""
        if self._programmes.get(ref) is not programme:
            return
        structure = exchangeable(programme.bundle.files, before=programme.proven)
        if self._proven.get(ref) != structure:
            self._proven[ref] = structure
            self._batcher.changed(ref)

    def pod_fate(self, uid: str) -> None:
        """A Pod is gone, so that nobody may be sent to its address any more; or it is there."""
        for ref, uids in self._pods.items():
            if uid in uids:
                self._batcher.changed(ref)

    def pods_known(self) -> None:
        """All Pods are known: those that ended before can be told now."""
        for ref, uids in self._pods.items():
            if uids:
                self._batcher.changed(ref)

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Bring one LoadBalancer's ConfigMap and objects to what they should be.

        Returns in how many seconds to come again, None when everything is done.
        """
        self._batcher.began(ref)
        try:
            again = await self._reconcile(ref)
        except KubeRefused as error:
            self._refusals[ref] = str(error).strip()
            raise
        except KubeConflict:
            self.forget_observed(ref)
            await self._lead.confirm()
            raise
        finally:
            self._batcher.ended(ref)
        self._refusals.pop(ref, None)
        return again

    async def _reconcile(self, ref: ObjectRef) -> float | None:
        gathered = await self._gather(ref)
        if gathered is None:
            return None
        plan = plan_load_balancer(
            load_balancer=gathered.load_balancer,
            acceptance=gathered.acceptance,
            snapshot=gathered.snapshot,
            gone=gathered.gone,
            now=gathered.now,
            certificates=gathered.certificates.usable,
            authorities=gathered.authorities,
            own=gathered.templates.in_force,
        )
        proven = self._proven.get(ref, gathered.memory.state.proven)
        holding = hold(
            observations=gathered.snapshot,
            kept=plan.kept,
            before=gathered.memory.state.held,
            now=gathered.now,
        )
        substituted = substitute(
            bundle=render(
                configuration=plan.configuration, layout=Layout(), previous=gathered.written.files
            ),
            refused=self._refused.refused(ref),
            proven=proven,
        )
        if gathered.load_balancer.paused:
            self._remember(
                gathered=gathered,
                plan=plan,
                proven=proven,
                substituted=substituted,
                written=gathered.written,
            )
            return None
        # Standbys come to here: when one of them begins to lead, it knows everything already.
        self._lead.require()
        await self._memory.keep(
            load_balancer=gathered.load_balancer,
            state=_to_remember(gathered=gathered, plan=plan, proven=proven, held=holding.held),
            before=gathered.memory,
            in_use=(*plan.stand_ins, *plan.awaiting),
        )
        written = await self._bundles.write(
            load_balancer=gathered.load_balancer,
            bundle=substituted.bundle,
            before=gathered.written,
        )
        if written is not gathered.written:
            self._batcher.wrote(ref, written.size)
        self._remember(
            gathered=gathered, plan=plan, proven=proven, substituted=substituted, written=written
        )
        settled = await self._children.apply(gathered.load_balancer, secrets=gathered.readable)
        return _soonest(
            self._refused.next_try(ref) if settled else CHILDREN_NOT_SETTLED_S,
            *(at - gathered.now for at in (plan.again, holding.again) if at is not None),
        )

    def forget_observed(self, ref: ObjectRef) -> None:
        """Read and apply everything anew next time: hand edits are found by that."""
        self._bundles.forget(ref)
        self._own_templates.forget_observed(ref)
        self._children.forget(ref)
        self._memory.forget(ref)

    def knows(self, *, kind: Kind, raw: Mapping[str, Any], ref: ObjectRef) -> bool:
        """Whether an object of a LoadBalancer is as it was last seen or written here, or older."""
        if kind is not CONFIG_MAP:
            return self._children.knows(raw, kind, ref)
        if raw["metadata"]["name"] == state_ref(ref).name:
            return self._memory.knows(raw, ref)
        return self._bundles.knows(raw, ref)

    def asking(self, query: ServiceQuery) -> frozenset[ObjectRef]:
        """LoadBalancers whose mappings an answer to ``query`` concerns."""
        return frozenset(ref for ref, queries in self._queries.items() if query in queries)

    async def _gather(self, ref: ObjectRef) -> _Gathered | None:
        stored = self._resources.load_balancers.get(ref)
        if stored is None:
            self._forget(ref)
            return None
        memory = await self._memory.recall(ref)
        accepted_now = self.verdict(stored.value)
        load_balancer = (
            memory.load_balancer
            if isinstance(stored.value, Invalid) or not accepted_now.is_true
            else stored.value
        )
        if not self._can_be_served(load_balancer, uid=stored.value.meta.uid):
            self._programmes.pop(ref, None)
            return None
        written = await self._bundles.read(load_balancer)
        templates = chosen(
            own=await self._own_templates.render(load_balancer),
            written=written.files,
            refused=self._refused.refused(ref),
            proven=self._proven.get(ref, memory.state.proven),
        )
        mappings = self._resources.mappings_of(ref)
        valid = tuple(
            bound(mapping=mapping, load_balancer=load_balancer) for mapping in mappings.valid
        )
        remembered = {
            uid: bound(mapping=mapping, load_balancer=load_balancer)
            for uid, mapping in memory.mappings.items()
            if uid in mappings.raws
        }
        accepting = partial(
            accept,
            load_balancer=load_balancer,
            mappings=valid,
            remembered=remembered,
            permissions=self._permissions(),
            templates=tuple(one.use for one in templates.in_force),
        )
        acceptance = accepting()
        earlier = earlier_forms(acceptance=acceptance, remembered=remembered)
        found = await self._secrets.findings(
            ref, [ObjectRef(namespace=ref.namespace, name=n) for n in secrets_of(load_balancer)]
        )
        findings = {secret.name: finding for secret, finding in found.items()}
        named = authorities_of(
            load_balancer=load_balancer,
            mappings=(*acceptance.used.values(), *earlier.values()),
        )
        authorities = await self._authorities.findings(ref, named)
        queries = acceptance.queries.union(*(form.queries for form in earlier.values()))
        self._ask(ref, queries)
        await self._catalog.heard(acceptance.queries, patience=FIRST_ANSWER_PATIENCE_S)
        # From here on without a pause: what comes later has it reconciled once more.
        snapshot = self._snapshot(queries, held=memory.state.held)
        if earlier:
            acceptance = accepting(
                awaited=awaited(
                    load_balancer=load_balancer,
                    acceptance=acceptance,
                    earlier=earlier,
                    snapshot=snapshot,
                    served=served_upstreams(written.files, layout=Layout()),
                )
            )
            self._ask(ref, acceptance.queries)
            snapshot = {query: snapshot[query] for query in acceptance.queries}
        marks = _marks(snapshot)
        self._pods[ref] = frozenset(marks)
        return _Gathered(
            accepted=accepted_now,
            load_balancer=load_balancer,
            mappings=valid,
            present=State(
                load_balancer=essence(stored.raw),
                mappings={uid: essence(raw) for uid, raw in mappings.raws.items()},
            ),
            memory=memory,
            acceptance=acceptance,
            certificates=resolve_certificates(
                load_balancer=load_balancer,
                findings=findings,
                remembered=memory.state.certificates,
                now=self._clock(),
                more_problems=problems_of_clients(load_balancer, authorities),
            ),
            authorities=authorities,
            readable=tuple(name for name, found in findings.items() if found.readable),
            snapshot=snapshot,
            written=written,
            gone=self._gone(ref, marks.values()),
            now=self._clock(),
            templates=templates,
        )

    def _snapshot(
        self, queries: frozenset[ServiceQuery], *, held: Mapping[str, Recollection]
    ) -> Snapshot:
        known = self._catalog.snapshot()
        return with_held({query: known.get(query, UNKNOWN) for query in queries}, held)

    def verdict(self, load_balancer: LoadBalancer | Invalid) -> Condition:
        """``Accepted`` of a LoadBalancer."""
        if isinstance(load_balancer, Invalid):
            return invalid(load_balancer)
        return (
            consul_objection(load_balancer=load_balancer, policy=self._policy)
            or template_objection(load_balancer=load_balancer, policy=self._policy)
            or accepted()
        )

    def _can_be_served(
        self, load_balancer: LoadBalancer | None, *, uid: str
    ) -> TypeGuard[LoadBalancer]:
        """Whether a form may be served: not that of an earlier LoadBalancer of the same name."""
        return (
            load_balancer is not None
            and load_balancer.meta.uid == uid
            and self.verdict(load_balancer).is_true
        )

    def _permissions(self) -> Permissions:
        return Permissions(
            policy=self._policy, namespace_labels=self._resources.namespaces.labels()
        )

    def _forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self.forget_observed(ref)
        self._children.forget_all(ref)
        self._memory.forget_all(ref)
        self._own_templates.forget(ref)
        self._programmes.pop(ref, None)
        self._pods.pop(ref, None)
        self._proven.pop(ref, None)
        self._refused.forget(ref)
        self._batcher.forget(ref)
        self._secrets.forget(ref)
        self._authorities.forget(ref)
        self._ask(ref, frozenset())

    def _ask(self, ref: ObjectRef, queries: frozenset[ServiceQuery]) -> None:
        """Have Consul watched for what any LoadBalancer asks."""
        if queries:
            self._queries[ref] = queries
        else:
            self._queries.pop(ref, None)
        self._catalog.watch_only(set().union(*self._queries.values()))

    def _remember(
        self,
        *,
        gathered: _Gathered,
        plan: Plan,
        proven: Mapping[str, str],
        substituted: Substituted,
        written: Written,
    ) -> None:
        ref, bundle = gathered.load_balancer.meta.ref, substituted.bundle
        rejected = {
            listener.name: substituted.reasons[file]
            for listener in gathered.load_balancer.listeners
            for file in _files_of(listener)
            if file in substituted.reasons
        }
        rejected |= {
            use.listener or use.field: substituted.reasons[file]
            for use in uses(gathered.load_balancer)
            if (file := own_file(use.id)) in substituted.reasons
        }
        rejected |= gathered.templates.refused
        problems = conditions(gathered.templates.problems, namespace=ref.namespace)
        before = self._programmes.get(ref)
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
        self._programmes[ref] = Programme(
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
            written_at=time.monotonic(),
            contained=contained,
        )


def _marks(snapshot: Snapshot) -> dict[str, PodMark]:
    """Pods that instances name, by UID."""
    return {
        instance.pod.uid: instance.pod
        for observation in snapshot.values()
        for instance in observation.instances or ()
        if instance.pod.uid
    }


def _soonest(*delays: float | None) -> float | None:
    return min((max(delay, 0.0) for delay in delays if delay is not None), default=None)


def _files_of(listener: Listener) -> Iterator[str]:
    """Those of the bundle that nginx may refuse alone."""
    for secret in listener.tls.secrets if listener.tls is not None else ():
        yield certificate_file(certificate_id(secret))
    yield listener_file(listener_id(listener))


def _to_remember(
    *,
    gathered: _Gathered,
    plan: Plan,
    proven: Mapping[str, str],
    held: Mapping[str, Recollection],
) -> State:
    """What is accepted and served now, and for the rest what was remembered of it."""
    before = gathered.memory.state
    accepted_uids = {m.meta.uid for m, verdict in plan.mappings if verdict.accepted.is_true}
    accepted_uids -= plan.awaiting.keys()
    return State(
        held=held,
        proven=proven,
        # What is odd about them is found again, and would be news at each comparison.
        certificates={
            name: replace(item, remarks=()) for name, item in gathered.certificates.usable.items()
        },
        load_balancer=gathered.present.load_balancer
        if gathered.accepted.is_true
        else before.load_balancer,
        mappings={
            uid: raw if uid in accepted_uids else before.mappings[uid]
            for uid, raw in gathered.present.mappings.items()
            if uid in accepted_uids or uid in before.mappings
        },
    )
