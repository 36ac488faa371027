"""gather → plan → render → apply: how a LoadBalancer's nginx gets its configuration.

``reconcile`` is the whole story. What it did is remembered as a ``Programme``, from which
``reports.py`` tells people how it went.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consul_nginx.consul.catalog import Catalog
from consul_nginx.kube.children import config_map, config_map_ref, data_plane
from consul_nginx.kube.client import CONFIG_MAP, DATA_PLANE_KINDS, KubeClient
from consul_nginx.kube.errors import KubeConflict, KubeRefused
from consul_nginx.kube.ownership import get_own, owner_uid
from consul_nginx.kube.state import essence
from consul_nginx.loops.memory import Memory, Remembered
from consul_nginx.loops.resources import Resources
from consul_nginx.metrics import CONFIGMAP_BYTES, CONFIGMAP_WRITES
from consul_nginx.model.bundle import Bundle, BundleError, decode, encode
from consul_nginx.model.consul import ServiceQuery, Snapshot
from consul_nginx.model.kubernetes import LoadBalancer, Meta, ObjectRef, ServiceMapping
from consul_nginx.model.layout import Layout
from consul_nginx.nginx.render import render
from consul_nginx.plan.load_balancer import Plan, plan_load_balancer
from consul_nginx.resources.base import Invalid

_log = logging.getLogger(__name__)

FIRST_ANSWER_PATIENCE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Programme:
    """What a LoadBalancer's nginx was told last.

    ``contained`` says for each object, by uid, its generation and the first revision with it.
    """

    plan: Plan
    revision: int
    written_at: float
    contained: Mapping[str, tuple[int, int]]

    def first_revision(self, meta: Meta) -> int | None:
        """First revision that contains this generation of an object; None: not written yet."""
        generation, revision = self.contained.get(meta.uid, (None, None))
        return revision if generation == meta.generation else None


@dataclass(frozen=True, kw_only=True)
class _Written:
    """The ConfigMap as it is in the API server, as far as we know."""

    resource_version: str | None = None
    revision: int = 0
    hash: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    load_balancer: LoadBalancer
    mappings: tuple[ServiceMapping, ...]
    raws: Mapping[str, Mapping[str, Any]]
    memory: Remembered
    remembered: Mapping[str, ServiceMapping]
    snapshot: Snapshot
    written: _Written


class LoadBalancers:
    """The reconcile function of the first flow, and its memory."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        resources: Resources,
        catalog: Catalog,
        nginx_image: str,
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._kube = kube
        self._resources = resources
        self._catalog = catalog
        self._nginx_image = nginx_image
        self._wall_clock_ms = wall_clock_ms
        self._written: dict[ObjectRef, _Written] = {}
        self._applied: dict[ObjectRef, list[dict[str, Any]]] = {}
        self._programmes: dict[ObjectRef, Programme] = {}
        self._refusals: dict[ObjectRef, str] = {}
        self._queries: dict[ObjectRef, frozenset[ServiceQuery]] = {}
        self._memory = Memory(kube=kube)

    def programme(self, ref: ObjectRef) -> Programme | None:
        """What its nginx was told last by this process; None before the first time."""
        return self._programmes.get(ref)

    def refusal(self, ref: ObjectRef) -> str | None:
        """What the API server had against the latest reconciliation; None when it was done."""
        return self._refusals.get(ref)

    async def reconcile(self, ref: ObjectRef) -> None:
        """Bring one LoadBalancer's ConfigMap and data plane to what they should be."""
        try:
            await self._reconcile(ref)
        except KubeRefused as error:
            self._refusals[ref] = str(error).strip()
            raise
        self._refusals.pop(ref, None)

    async def _reconcile(self, ref: ObjectRef) -> None:
        gathered = await self._gather(ref)
        if gathered is None:
            return
        plan = plan_load_balancer(
            load_balancer=gathered.load_balancer,
            mappings=gathered.mappings,
            snapshot=gathered.snapshot,
            remembered=gathered.remembered,
        )
        await self._memory.keep(
            load_balancer=gathered.load_balancer,
            plan=plan,
            present=gathered.raws,
            before=gathered.memory,
        )
        bundle = render(
            configuration=plan.configuration, layout=Layout(), previous=gathered.written.files
        )
        written = await self._apply_config_map(gathered=gathered, bundle=bundle)
        self._remember(ref=ref, gathered=gathered, plan=plan, revision=written.revision)
        await self._apply_data_plane(gathered.load_balancer)

    def forget_observed(self, ref: ObjectRef) -> None:
        """Read and apply everything anew next time: hand edits are found by that."""
        self._written.pop(ref, None)
        self._applied.pop(ref, None)
        self._memory.forget(ref)

    def asking(self, query: ServiceQuery) -> frozenset[ObjectRef]:
        """LoadBalancers that an answer to ``query`` concerns."""
        return frozenset(ref for ref, queries in self._queries.items() if query in queries)

    async def _gather(self, ref: ObjectRef) -> _Gathered | None:
        stored = self._resources.load_balancers.get(ref)
        if stored is None:
            self.forget_observed(ref)
            self._programmes.pop(ref, None)
            self._ask(ref, frozenset())
            return None
        if isinstance(stored.value, Invalid):
            return None
        memory = await self._memory.recall(stored.value)
        mappings = self._resources.mappings_of(ref)
        remembered = {
            uid: mapping for uid, mapping in memory.mappings.items() if uid in mappings.raws
        }
        queries = frozenset(item.backend for item in (*mappings.valid, *remembered.values()))
        self._ask(ref, queries)
        await self._catalog.heard(queries, patience=FIRST_ANSWER_PATIENCE_S)
        return _Gathered(
            load_balancer=stored.value,
            mappings=mappings.valid,
            raws={uid: essence(raw) for uid, raw in mappings.raws.items()},
            memory=memory,
            remembered=remembered,
            snapshot=self._catalog.snapshot(),
            written=await self._read_config_map(stored.value),
        )

    def _ask(self, ref: ObjectRef, queries: frozenset[ServiceQuery]) -> None:
        """Have Consul watched for what any LoadBalancer asks."""
        if queries:
            self._queries[ref] = queries
        else:
            self._queries.pop(ref, None)
        self._catalog.watch_only(set().union(*self._queries.values()))

    async def _read_config_map(self, load_balancer: LoadBalancer) -> _Written:
        known = self._written.get(load_balancer.meta.ref)
        if known is not None:
            return known
        raw = await get_own(
            kube=self._kube,
            kind=CONFIG_MAP,
            ref=config_map_ref(load_balancer.meta.ref),
            load_balancer=load_balancer,
        )
        written = _Written() if raw is None else _as_written(raw)
        self._written[load_balancer.meta.ref] = written
        return written

    async def _apply_config_map(self, *, gathered: _Gathered, bundle: Bundle) -> _Written:
        """Write the bundle if it is another one; the write names the version that it replaces."""
        before, ref = gathered.written, gathered.load_balancer.meta.ref
        if before.hash == bundle.hash and before.uid == gathered.load_balancer.meta.uid:
            return before
        revision = max(self._wall_clock_ms(), before.revision + 1)
        body = config_map(
            load_balancer=gathered.load_balancer,
            data=encode(bundle=bundle, revision=revision),
            resource_version=before.resource_version,
        )
        try:
            raw = await self._kube.write(CONFIG_MAP, body)
        except KubeConflict:
            self._written.pop(ref, None)
            raise
        _log.info("%s: revision %d, bundle %.12s, written for nginx", ref, revision, bundle.hash)
        CONFIGMAP_WRITES.inc()
        CONFIGMAP_BYTES.inc(sum(len(text) for text in bundle.files.values()))
        written = self._written[ref] = _as_written(raw)
        return written

    async def _apply_data_plane(self, load_balancer: LoadBalancer) -> None:
        desired = data_plane(load_balancer=load_balancer, image=self._nginx_image)
        if self._applied.get(load_balancer.meta.ref) == desired:
            return
        for body in desired:
            kind = DATA_PLANE_KINDS[body["kind"]]
            await get_own(
                kube=self._kube,
                kind=kind,
                ref=load_balancer.meta.ref,
                load_balancer=load_balancer,
            )
            await self._kube.apply(kind, body)
        self._applied[load_balancer.meta.ref] = desired

    def _remember(self, *, ref: ObjectRef, gathered: _Gathered, plan: Plan, revision: int) -> None:
        before = self._programmes.get(ref)
        known = before.contained if before is not None else {}
        metas = [gathered.load_balancer.meta, *(mapping.meta for mapping in gathered.mappings)]
        self._programmes[ref] = Programme(
            plan=plan,
            revision=revision,
            written_at=time.monotonic(),
            contained={
                meta.uid: known[meta.uid]
                if known.get(meta.uid, (None, 0))[0] == meta.generation
                else (meta.generation, revision)
                for meta in metas
            },
        )


def _as_written(raw: Mapping[str, Any]) -> _Written:
    """What a ConfigMap of ours holds; one that somebody damaged counts as one to overwrite."""
    metadata = raw["metadata"]
    try:
        manifest, bundle = decode(raw.get("data") or {})
    except BundleError:
        return _Written(resource_version=metadata["resourceVersion"])
    return _Written(
        resource_version=metadata["resourceVersion"],
        revision=manifest.revision,
        hash=bundle.hash,
        files=bundle.files,
        uid=owner_uid(raw),
    )
