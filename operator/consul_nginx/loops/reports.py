"""How it went, told where people look: status of LoadBalancers and ServiceMappings.

Agents are asked after every write until they conform, then every ten seconds. The operator is the
only writer of ``status``, and writes only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from consul_nginx.kube.children import selector
from consul_nginx.kube.client import (
    DAEMON_SET,
    DEPLOYMENT,
    LOAD_BALANCER,
    SERVICE,
    SERVICE_MAPPING,
    Kind,
    KubeClient,
    Raw,
)
from consul_nginx.kube.data_plane import DataPlane
from consul_nginx.kube.events import news
from consul_nginx.kube.ownership import is_own
from consul_nginx.kube.refused_pods import pods_refusal
from consul_nginx.kube.status import conditions, service_addresses, status_body, without_times
from consul_nginx.kube.workload import desired_pods
from consul_nginx.loops.events import Events
from consul_nginx.loops.lead import Lead
from consul_nginx.loops.load_balancers import LoadBalancers
from consul_nginx.loops.programme import Programme
from consul_nginx.loops.resources import MappingsOf, Resources
from consul_nginx.loops.store import Store, Stored
from consul_nginx.metrics import (
    CERTIFICATE_EXPIRY,
    DROPPED_INSTANCES,
    ENDPOINTS,
    STALE_PODS,
    STATE_LEFT_OUT,
)
from consul_nginx.model.kubernetes import (
    Access,
    LoadBalancer,
    Meta,
    ObjectRef,
    Workload,
)
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.pods import PodReport
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.plan.acceptance import load_balancer_not_found, with_stand_in
from consul_nginx.plan.certificates import NONE as NO_CERTIFICATES
from consul_nginx.plan.certificates import resolved
from consul_nginx.plan.load_balancer import MappingVerdict
from consul_nginx.plan.status import (
    DataPlaneState,
    common_rejection,
    data_plane_state,
    paused,
    programmed,
    ready,
    rejected_by_nginx,
    remembered,
    resolved_of_all,
    template_without_text,
)
from consul_nginx.resources.base import Invalid, invalid

MAX_ADDRESSES = 16
POLL_S = 10.0
POLL_AFTER_WRITE_S = 0.2
POLL_NOT_CONFORMING_S = 2.0
_FRESH_S = 15.0


class Reports:
    """The report half of the first flow, keyed by LoadBalancer, existing or only named."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        lead: Lead,
        resources: Resources,
        load_balancers: LoadBalancers,
        data_plane: DataPlane,
        events: Events,
    ) -> None:
        self._kube = kube
        self._lead = lead
        self._resources = resources
        self._load_balancers = load_balancers
        self._data_plane = data_plane
        self._events = events
        self._counted: dict[ObjectRef, set[ObjectRef]] = {}

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Ask the pods, decide on every condition, write what is new.

        Returns in how many seconds to ask again, None when there is nobody to be asked.
        """
        self._lead.require()
        stored = self._resources.load_balancers.get(ref)
        mappings = self._resources.mappings_of(ref)
        self._forget_metrics(ref=ref, exists=stored is not None, mappings=mappings)
        await self._report_invalid(ref=ref, mappings=mappings.invalid)
        if stored is None:
            await self._report_orphans(ref=ref, mappings=mappings)
            return None
        programme = self._load_balancers.programme(ref)
        verdict = self._load_balancers.verdict(stored.value)
        if programme is not None or self._load_balancers.refusal(ref) is not None:
            return await self._report_programme(stored=stored, programme=programme)
        if not verdict.is_true:
            await self._write(
                kind=LOAD_BALANCER,
                store=self._resources.load_balancers,
                meta=stored.value.meta,
                verdicts=_unusable(verdict),
            )
        return None

    async def _report_programme(
        self, *, stored: Stored[LoadBalancer], programme: Programme | None
    ) -> float:
        ref = stored.value.meta.ref
        pods = await self._data_plane.report(ref)
        workload = await self._workload(stored.value)
        state = data_plane_state(
            desired=desired_pods(workload),
            revision=programme.revision if programme is not None else 0,
            pods=pods,
        )
        if programme is not None:
            self._tell_back(ref=ref, programme=programme, pods=pods, state=state)
            _tell_expiry(programme)
            for mapping, verdict in programme.plan.mappings:
                await self._report_mapping(
                    mapping=mapping, verdict=verdict, programme=programme, pods=pods
                )
        refusal = self._load_balancers.refusal(ref)
        await self._report_load_balancer(
            stored=stored,
            programme=programme,
            pods=pods,
            state=state,
            refusal=refusal or await pods_refusal(kube=self._kube, workload=workload),
        )
        STALE_PODS.labels(**_labels(ref)).set(state.ready - state.updated)
        return _poll_delay(programme=programme, state=state)

    def _tell_back(
        self,
        *,
        ref: ObjectRef,
        programme: Programme,
        pods: tuple[PodReport, ...],
        state: DataPlaneState,
    ) -> None:
        """What all pods run is proven; what all refuse is left out."""
        rejection = common_rejection(digest=programme.bundle.hash, pods=pods)
        if rejection is not None:
            self._load_balancers.rejected(ref, rejection)
        elif state.conforms and not programme.paused:
            self._load_balancers.proved(ref, programme)

    async def _workload(self, load_balancer: LoadBalancer | Invalid) -> Raw | None:
        """What runs the pods: what is asked for, or before that is there the other one."""
        ref, kinds = load_balancer.meta.ref, [DEPLOYMENT, DAEMON_SET]
        if isinstance(load_balancer, LoadBalancer) and (
            load_balancer.pods.workload is Workload.DAEMON_SET
        ):
            kinds.reverse()
        for kind in kinds:
            raw = await self._kube.get(kind, ref)
            if raw is not None and is_own(raw=raw, owner=ref):
                return raw
        return None

    async def _report_load_balancer(
        self,
        *,
        stored: Stored[LoadBalancer],
        programme: Programme | None,
        pods: tuple[PodReport, ...],
        state: DataPlaneState,
        refusal: str | None,
    ) -> None:
        meta = stored.value.meta
        in_use = (
            programme.accepted
            if programme is not None
            else self._load_balancers.verdict(stored.value)
        )
        rejected_listeners = programme.rejected if programme is not None else {}
        templates = programme.templates if programme is not None else ()
        programmed_now = (
            rejected_by_nginx("; ".join(f"{_place(k)}: {v}" for k, v in rejected_listeners.items()))
            if rejected_listeners and in_use.is_true
            else template_without_text(templates)
            if templates and in_use.is_true
            else programmed(
                revision=programme.first_revision(meta) if programme is not None else None,
                pods=pods,
                paused=programme is not None and programme.paused,
                refusal=refusal,
            )
            if in_use.is_true
            else _not_programmed()
        )
        verdicts = [verdict for _, verdict in programme.plan.mappings] if programme else []
        await self._write(
            kind=LOAD_BALANCER,
            store=self._resources.load_balancers,
            meta=meta,
            verdicts=[
                in_use,
                resolved(
                    certificates=programme.certificates if programme else NO_CERTIFICATES,
                    of_mappings=resolved_of_all(
                        (*templates, *(v.resolved for v in verdicts if v.accepted.is_true))
                    ),
                ),
                programmed_now,
                paused()
                if programme is not None and programme.paused
                else ready(accepted=in_use, programmed=programmed_now),
                *self._forgotten(meta.ref),
            ],
            details={
                "addresses": await self._addresses(stored.value, pods),
                "selector": selector(meta.ref),
                "mappings": sum(verdict.accepted.is_true for verdict in verdicts),
                "dataPlane": {
                    "desired": state.desired,
                    "ready": state.ready,
                    "updated": state.updated,
                    "summary": f"{state.updated}/{state.desired}",
                    "stale": [
                        {"pod": item.pod, "message": item.message[:4096]} for item in state.stale
                    ],
                },
            },
        )

    def _forgotten(self, ref: ObjectRef) -> list[Condition]:
        """Told only while it is so."""
        STATE_LEFT_OUT.remove_by_labels(_labels(ref))
        memory = self._load_balancers.forgotten(ref)
        if memory is None:
            return []
        for kind, count in memory.left_out.items():
            STATE_LEFT_OUT.labels(**_labels(ref), kind=kind).set(count)
        return [remembered(left_out=memory.left_out, refusal=memory.refusal)]

    async def _addresses(
        self, load_balancer: LoadBalancer | Invalid, pods: tuple[PodReport, ...]
    ) -> list[str]:
        """Where nginx is reached."""
        if isinstance(load_balancer, Invalid) or load_balancer.access is Access.SERVICE:
            return service_addresses(await self._kube.get(SERVICE, load_balancer.meta.ref))
        return sorted({pod.host for pod in pods if pod.ready and pod.host})[:MAX_ADDRESSES]

    async def _report_mapping(
        self,
        *,
        mapping: ServiceMapping,
        verdict: MappingVerdict,
        programme: Programme,
        pods: tuple[PodReport, ...],
    ) -> None:
        revision = programme.first_revision(mapping.meta)
        verdicts = [verdict.accepted, verdict.resolved]
        if verdict.accepted.is_true:
            why = programme.rejected.get(mapping.listener)
            verdicts.append(
                programmed(revision=revision, pods=pods, paused=programme.paused)
                if why is None
                else rejected_by_nginx(f"listener {mapping.listener}: {why}")
            )
        else:
            verdicts.append(_not_programmed())
        details = {}
        if verdict.selection is not None:
            healthy, total = verdict.selection.healthy, verdict.selection.total
            details["endpoints"] = {
                "healthy": healthy,
                "total": total,
                **({"kept": kept} if (kept := _kept(verdict)) else {}),
                "summary": f"{healthy}/{total}",
            }
        _count_endpoints(mapping=mapping, verdict=verdict)
        await self._write(
            kind=SERVICE_MAPPING,
            store=self._resources.mappings,
            meta=mapping.meta,
            verdicts=verdicts,
            details=details,
        )

    async def _report_invalid(self, *, ref: ObjectRef, mappings: Iterable[Invalid]) -> None:
        programme = self._load_balancers.programme(ref)
        stand_ins = programme.plan.stand_ins if programme is not None else {}
        for mapping in mappings:
            stand_in = stand_ins.get(mapping.meta.uid)
            verdict = with_stand_in(
                invalid(mapping), stand_in.meta.generation if stand_in is not None else None
            )
            await self._write(
                kind=SERVICE_MAPPING,
                store=self._resources.mappings,
                meta=mapping.meta,
                verdicts=[verdict, _not_programmed()],
            )

    async def _report_orphans(self, *, ref: ObjectRef, mappings: MappingsOf) -> None:
        for mapping in mappings.valid:
            await self._write(
                kind=SERVICE_MAPPING,
                store=self._resources.mappings,
                meta=mapping.meta,
                verdicts=[load_balancer_not_found(ref), _not_programmed()],
            )

    def _forget_metrics(self, *, ref: ObjectRef, exists: bool, mappings: MappingsOf) -> None:
        """Metrics of what is gone, or names this LoadBalancer no longer, go too."""
        present = {mapping.meta.ref for mapping in mappings.valid}
        for gone in self._counted.get(ref, set()) - present:
            ENDPOINTS.remove_by_labels(_labels(gone))
            DROPPED_INSTANCES.remove_by_labels(_labels(gone))
        if exists:
            self._counted[ref] = present
        else:
            self._counted.pop(ref, None)
            STALE_PODS.remove_by_labels(_labels(ref))
            CERTIFICATE_EXPIRY.remove_by_labels(_labels(ref))
            STATE_LEFT_OUT.remove_by_labels(_labels(ref))

    async def _write(
        self,
        *,
        kind: Kind,
        store: Store[Any],
        meta: Meta,
        verdicts: Collection[Condition],
        details: Mapping[str, Any] | None = None,
    ) -> None:
        stored: Stored[Any] | None = store.get(meta.ref)
        if stored is None or stored.value.meta.uid != meta.uid:
            return
        status = {
            **(details or {}),
            "conditions": conditions(
                verdicts=verdicts, generation=meta.generation, before=stored.status
            ),
        }
        if without_times(status) == without_times(stored.status):
            return
        told = list(news(verdicts=verdicts, before=stored.status))
        raw = await self._kube.apply_status(
            kind, status_body(kind=kind, raw=stored.raw, status=status)
        )
        if raw is not None:
            store.put(raw)
            await self._events.post(kind=kind, meta=meta, conditions=told)


def _poll_delay(*, programme: Programme | None, state: DataPlaneState) -> float:
    if state.conforms:
        return POLL_S
    fresh = programme is not None and time.monotonic() - programme.written_at < _FRESH_S
    return POLL_AFTER_WRITE_S if fresh else POLL_NOT_CONFORMING_S


def _place(name: str) -> str:
    """A listener, or a field that stands for several."""
    return name if name.startswith("spec.") else f"listener {name}"


def _unusable(verdict: Condition) -> list[Condition]:
    return [verdict, _not_programmed(), ready(accepted=verdict, programmed=verdict)]


def _not_programmed() -> Condition:
    return Condition(
        type="Programmed",
        status=Status.FALSE,
        reason="NotAccepted",
        message="nginx is not told of it until it is accepted",
    )


def _count_endpoints(*, mapping: ServiceMapping, verdict: MappingVerdict) -> None:
    selection, labels = verdict.selection, _labels(mapping.meta.ref)
    if selection is None:
        if mapping.group is None or not verdict.accepted.is_true:
            ENDPOINTS.remove_by_labels(labels)
            DROPPED_INSTANCES.remove_by_labels(labels)
        return
    ENDPOINTS.labels(**labels, state="healthy").set(selection.healthy)
    ENDPOINTS.labels(**labels, state="total").set(selection.total)
    ENDPOINTS.labels(**labels, state="kept").set(_kept(verdict))
    ENDPOINTS.labels(**labels, state="fallback").set(verdict.fallback)
    DROPPED_INSTANCES.remove_by_labels(labels)
    for item in selection.dropped:
        DROPPED_INSTANCES.labels(**labels, reason=item.reason).set(item.count)


def _kept(verdict: MappingVerdict) -> int:
    return verdict.health.kept if verdict.health is not None else 0


def _tell_expiry(programme: Programme) -> None:
    usable, load_balancer = programme.certificates.usable, programme.load_balancer
    labels = _labels(load_balancer.meta.ref)
    CERTIFICATE_EXPIRY.remove_by_labels(labels)
    for listener in load_balancer.listeners:
        for secret in listener.tls.secrets if listener.tls is not None else ():
            if secret in usable:
                CERTIFICATE_EXPIRY.labels(**labels, listener=listener.name, secret=secret).set(
                    usable[secret].not_after
                )


def _labels(ref: ObjectRef) -> dict[str, str]:
    return {"namespace": ref.namespace, "name": ref.name}
