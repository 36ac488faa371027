"""Gathering: all that a LoadBalancer's plan is made from, out of Kubernetes, Consul and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeGuard

from consul_nginx.consul.catalog import Catalog
from consul_nginx.kube.bundle_store import BundleStore, Written
from consul_nginx.kube.state import State, essence
from consul_nginx.loops.certificates import Authorities
from consul_nginx.loops.certificates import Certificates as Secrets
from consul_nginx.loops.held import with_held
from consul_nginx.loops.memory import Memory, Remembered
from consul_nginx.loops.own_templates import OwnTemplates
from consul_nginx.loops.refusals import Refusals
from consul_nginx.loops.resources import Resources
from consul_nginx.loops.users import UserFiles
from consul_nginx.model.consul import UNKNOWN, PodMark, ServiceQuery, Snapshot
from consul_nginx.model.history import Recollection
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.policy import Policy
from consul_nginx.model.users import UsersFinding
from consul_nginx.model.verdict import Condition, accepted
from consul_nginx.nginx.own.choice import Templates, chosen
from consul_nginx.nginx.render import served_upstreams
from consul_nginx.plan.acceptance import Acceptance, accept
from consul_nginx.plan.authorities import Findings, authorities_of, problems_of_clients
from consul_nginx.plan.awaiting import awaited, earlier_forms
from consul_nginx.plan.certificates import Certificates, resolve_certificates, secrets_of
from consul_nginx.plan.load_balancer import Plan, bound
from consul_nginx.plan.permissions import Permissions, consul_objection, template_objection
from consul_nginx.plan.survey import GonePods
from consul_nginx.plan.users import Users, resolve_users, users_secrets
from consul_nginx.resources.base import Invalid, invalid

FIRST_ANSWER_PATIENCE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that a plan is made from.

    ``load_balancer`` is the form to serve: the present one, or when that is rejected the one that
    was accepted last. ``state`` is to be remembered if the plan accepts its mappings.
    ``readable`` are the Secrets that nginx's agents are to read, of those that are named.
    """

    accepted: Condition
    load_balancer: LoadBalancer
    mappings: tuple[ServiceMapping, ...]
    present: State
    memory: Remembered
    acceptance: Acceptance
    certificates: Certificates
    authorities: Findings
    users: Users
    readable: tuple[str, ...]
    snapshot: Snapshot
    written: Written
    gone: GonePods
    now: float
    templates: Templates

    def to_remember(
        self, *, plan: Plan, proven: Mapping[str, str], held: Mapping[str, Recollection]
    ) -> State:
        """What is accepted and served now, and for the rest what was remembered of it."""
        before = self.memory.state
        accepted_uids = {m.meta.uid for m, verdict in plan.mappings if verdict.accepted.is_true}
        accepted_uids -= plan.awaiting.keys()
        return State(
            held=held,
            proven=proven,
            # What is odd about them is found again, and would be news at each comparison.
            certificates={
                name: replace(item, remarks=()) for name, item in self.certificates.usable.items()
            },
            users=self.users.usable,
            load_balancer=self.present.load_balancer
            if self.accepted.is_true
            else before.load_balancer,
            mappings={
                uid: raw if uid in accepted_uids else before.mappings[uid]
                for uid, raw in self.present.mappings.items()
                if uid in accepted_uids or uid in before.mappings
            },
        )


class Gatherer:
    """Asks all of them, and knows whom an answer concerns.

    ``refused`` and ``proven`` are what nginx said of earlier files, and grow while it is used.
    ``gone`` says which of the Pods that its instances name are, ``clock`` tells seconds since the
    epoch: what is remembered outlives the process.
    """

    def __init__(
        self,
        *,
        resources: Resources,
        catalog: Catalog,
        secrets: Secrets,
        authorities: Authorities,
        users: UserFiles,
        policy: Policy,
        own_templates: OwnTemplates,
        memory: Memory,
        bundles: BundleStore,
        refused: Refusals,
        proven: Mapping[ObjectRef, Mapping[str, str]],
        gone: Callable[[ObjectRef, Collection[PodMark]], GonePods],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resources = resources
        self._catalog = catalog
        self._secrets = secrets
        self._authorities = authorities
        self._users = users
        self._policy = policy
        self._own_templates = own_templates
        self._memory = memory
        self._bundles = bundles
        self._refused = refused
        self._proven = proven
        self._gone = gone
        self._clock = clock
        self._queries: dict[ObjectRef, frozenset[ServiceQuery]] = {}
        self._pods: dict[ObjectRef, frozenset[str]] = {}

    async def gather(self, ref: ObjectRef) -> Gathered | None:
        """Read and ask; None when there is no LoadBalancer, or no form of it can be served."""
        stored = self._resources.load_balancers.get(ref)
        if stored is None:
            return None
        memory = await self._memory.recall(ref)
        accepted_now = self.verdict(stored.value)
        load_balancer = (
            memory.load_balancer
            if isinstance(stored.value, Invalid) or not accepted_now.is_true
            else stored.value
        )
        if not self._can_be_served(load_balancer, uid=stored.value.meta.uid):
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
        acceptance = await self._accept(
            partial(
                accept,
                load_balancer=load_balancer,
                mappings=valid,
                remembered=remembered,
                permissions=self._permissions(),
                templates=tuple(one.use for one in templates.in_force),
            ),
            load_balancer=load_balancer,
            memory=memory,
            remembered=remembered,
            served=served_upstreams(written.files, layout=Layout()),
        )
        used = tuple(acceptance.used.values())
        found = await self._secrets.findings(
            ref, [ObjectRef(namespace=ref.namespace, name=n) for n in secrets_of(load_balancer)]
        )
        findings = {secret.name: finding for secret, finding in found.items()}
        named = authorities_of(load_balancer=load_balancer, mappings=used)
        authorities = await self._authorities.findings(ref, named)
        let_in = await self._let_in(ref, used)
        # From here on without a pause: what comes later has it reconciled once more.
        snapshot = self._snapshot(acceptance.queries, held=memory.state.held)
        marks = _marks(snapshot)
        self._pods[ref] = frozenset(marks)
        return Gathered(
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
            users=resolve_users(findings=let_in, remembered=memory.state.users),
            # Whoever writes a mapping has no certificate read, nor what is no list of users.
            readable=(
                *(name for name, found in findings.items() if found.readable),
                *(name for name, users in let_in.items() if users.file and name not in findings),
            ),
            snapshot=snapshot,
            written=written,
            gone=self._gone(ref, marks.values()),
            now=self._clock(),
            templates=templates,
        )

    async def _accept(
        self,
        accepting: Callable[..., Acceptance],
        *,
        load_balancer: LoadBalancer,
        memory: Remembered,
        remembered: Mapping[str, ServiceMapping],
        served: Collection[str],
    ) -> Acceptance:
        """What is accepted and in use, and Consul asked for it and given time to answer."""
        ref, acceptance = load_balancer.meta.ref, accepting()
        earlier = earlier_forms(acceptance=acceptance, remembered=remembered)
        queries = acceptance.queries
        if earlier:
            # Whoever gives way to an edit is in use again where that one is awaited. What is
            # watched stays so until it is decided: asked anew, its answer would lead back to here.
            queries |= accepting(awaited=earlier.keys()).queries | self._queries.get(ref, queries)
        self._ask(ref, queries)
        await self._catalog.heard(acceptance.queries, patience=FIRST_ANSWER_PATIENCE_S)
        if not earlier:
            return acceptance
        acceptance = accepting(
            awaited=awaited(
                load_balancer=load_balancer,
                acceptance=acceptance,
                earlier=earlier,
                snapshot=self._snapshot(queries, held=memory.state.held),
                served=served,
            )
        )
        self._ask(ref, acceptance.queries)
        return acceptance

    async def _let_in(
        self, ref: ObjectRef, mappings: Iterable[ServiceMapping]
    ) -> dict[str, UsersFinding]:
        """What the Secrets say that mappings in use name, by their names."""
        refs = [ObjectRef(namespace=ref.namespace, name=name) for name in users_secrets(mappings)]
        found = await self._users.findings(ref, refs)
        return {secret.name: finding for secret, finding in found.items()}

    def verdict(self, load_balancer: LoadBalancer | Invalid) -> Condition:
        """``Accepted`` of a LoadBalancer."""
        if isinstance(load_balancer, Invalid):
            return invalid(load_balancer)
        return (
            consul_objection(load_balancer=load_balancer, policy=self._policy)
            or template_objection(load_balancer=load_balancer, policy=self._policy)
            or accepted()
        )

    def asking(self, query: ServiceQuery) -> frozenset[ObjectRef]:
        """LoadBalancers whose mappings an answer to ``query`` concerns."""
        return frozenset(ref for ref, queries in self._queries.items() if query in queries)

    def naming(self, uid: str) -> frozenset[ObjectRef]:
        """LoadBalancers with an instance that names this Pod."""
        return frozenset(ref for ref, uids in self._pods.items() if uid in uids)

    def naming_any(self) -> frozenset[ObjectRef]:
        """LoadBalancers with an instance that names a Pod."""
        return frozenset(ref for ref, uids in self._pods.items() if uids)

    def forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self._own_templates.forget(ref)
        self._pods.pop(ref, None)
        self._secrets.forget(ref)
        self._authorities.forget(ref)
        self._users.forget(ref)
        self._ask(ref, frozenset())

    def _snapshot(
        self, queries: frozenset[ServiceQuery], *, held: Mapping[str, Recollection]
    ) -> Snapshot:
        known = self._catalog.snapshot()
        return with_held({query: known.get(query, UNKNOWN) for query in queries}, held)

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

    def _ask(self, ref: ObjectRef, queries: frozenset[ServiceQuery]) -> None:
        """Have Consul watched for what any LoadBalancer asks."""
        if queries:
            self._queries[ref] = queries
        else:
            self._queries.pop(ref, None)
        self._catalog.watch_only(set().union(*self._queries.values()))


def _marks(snapshot: Snapshot) -> dict[str, PodMark]:
    """Pods that instances name, by UID."""
    return {
        instance.pod.uid: instance.pod
        for observation in snapshot.values()
        for instance in observation.instances or ()
        if instance.pod.uid
    }
