"""gather → plan → render → apply: how a LoadBalancer's nginx gets its configuration.

``reconcile`` is the whole story. What it did is remembered as a ``Programme``, from which
``reports.py`` tells people how it went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from consul_nginx.consul.catalog import Catalog
from consul_nginx.kube.bundle_store import BundleStore, Written
from consul_nginx.kube.children import state_ref
from consul_nginx.kube.client import CONFIG_MAP, Kind, KubeClient
from consul_nginx.kube.errors import KubeConflict, KubeRefused
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.loops.batching import Batcher
from consul_nginx.loops.certificates import Authorities
from consul_nginx.loops.certificates import Certificates as Secrets
from consul_nginx.loops.children import Children
from consul_nginx.loops.gathering import Gathered, Gatherer
from consul_nginx.loops.held import hold
from consul_nginx.loops.lead import Lead
from consul_nginx.loops.memory import Memory, Remembered
from consul_nginx.loops.own_templates import OwnTemplates
from consul_nginx.loops.programme import Programme, programme_of
from consul_nginx.loops.refusals import Refusals
from consul_nginx.loops.resources import Resources
from consul_nginx.loops.users import UserFiles
from consul_nginx.model.consul import PodMark, ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.pods import PodRejection
from consul_nginx.model.policy import Policy
from consul_nginx.model.verdict import Condition
from consul_nginx.nginx.render import render
from consul_nginx.nginx.substitute import Substituted, exchangeable, substitute
from consul_nginx.plan.load_balancer import Plan, plan_load_balancer
from consul_nginx.plan.survey import GonePods
from consul_nginx.resources.base import Invalid

CHILDREN_NOT_SETTLED_S = 2.0


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
        users: UserFiles,
        batcher: Batcher,
        policy: Policy,
        own_templates: OwnTemplates,
        nginx_image: NginxImage,
        gone: Callable[[ObjectRef, Collection[PodMark]], GonePods],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kube = kube
        self._lead = lead
        self._resources = resources
        self._batcher = batcher
        self._own_templates = own_templates
        self._bundles = BundleStore(kube=kube)
        self._programmes: dict[ObjectRef, Programme] = {}
        self._refusals: dict[ObjectRef, str] = {}
        self._refused = Refusals()
        self._proven: dict[ObjectRef, Mapping[str, str]] = {}
        self._memory = Memory(kube=kube)
        self._gatherer = Gatherer(
            resources=resources,
            catalog=catalog,
            secrets=secrets,
            authorities=authorities,
            users=users,
            policy=policy,
            own_templates=own_templates,
            memory=self._memory,
            bundles=self._bundles,
            refused=self._refused,
            proven=self._proven,
            gone=gone,
            clock=clock,
        )
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
        for ref in self._gatherer.naming(uid):
            self._batcher.changed(ref)

    def pods_known(self) -> None:
        """All Pods are known: those that ended before can be told now."""
        for ref in self._gatherer.naming_any():
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
        if self._resources.load_balancers.get(ref) is None:
            self._forget(ref)
            return None
        gathered = await self._gatherer.gather(ref)
        if gathered is None:
            self._programmes.pop(ref, None)
            return None
        plan = plan_load_balancer(
            load_balancer=gathered.load_balancer,
            acceptance=gathered.acceptance,
            snapshot=gathered.snapshot,
            gone=gathered.gone,
            now=gathered.now,
            certificates=gathered.certificates.usable,
            authorities=gathered.authorities,
            users=gathered.users,
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
            state=gathered.to_remember(plan=plan, proven=proven, held=holding.held),
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
        return self._gatherer.asking(query)

    def verdict(self, load_balancer: LoadBalancer | Invalid) -> Condition:
        """``Accepted`` of a LoadBalancer."""
        return self._gatherer.verdict(load_balancer)

    def _forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self.forget_observed(ref)
        self._gatherer.forget(ref)
        self._children.forget_all(ref)
        self._memory.forget_all(ref)
        self._programmes.pop(ref, None)
        self._proven.pop(ref, None)
        self._refused.forget(ref)
        self._batcher.forget(ref)

    def _remember(
        self,
        *,
        gathered: Gathered,
        plan: Plan,
        proven: Mapping[str, str],
        substituted: Substituted,
        written: Written,
    ) -> None:
        ref = gathered.load_balancer.meta.ref
        self._programmes[ref] = programme_of(
            gathered=gathered,
            plan=plan,
            proven=proven,
            substituted=substituted,
            written=written,
            at=time.monotonic(),
            before=self._programmes.get(ref),
        )


def _soonest(*delays: float | None) -> float | None:
    return min((max(delay, 0.0) for delay in delays if delay is not None), default=None)
