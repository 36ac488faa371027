"""Puts the operator together: what is started, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import aiohttp

from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.facts import FactWatches
from consul_nginx.handlers.consuls import Consuls, consuls
from consul_nginx.handlers.http import serve
from consul_nginx.handlers.lists import RESOURCES_PERIOD_S, ResourceLists
from consul_nginx.handlers.registering import Registering
from consul_nginx.handlers.relist import Relist
from consul_nginx.kube.client import Kind, KubeClient, connect
from consul_nginx.kube.data_plane import DataPlane
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.templates import TemplateStore
from consul_nginx.loops.batching import Batcher
from consul_nginx.loops.certificates import (
    Authorities,
    Certificates,
    authorities_in,
    certificate_in,
)
from consul_nginx.loops.consul_tokens import ConsulTokens
from consul_nginx.loops.events import Events
from consul_nginx.loops.garbage import collect_in_quiet
from consul_nginx.loops.lead import AlwaysLeading, LeaseElector
from consul_nginx.loops.load_balancers import LoadBalancers
from consul_nginx.loops.own_templates import OwnTemplates
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.reports import Reports
from consul_nginx.loops.resources import Resources
from consul_nginx.loops.users import UserFiles, users_in
from consul_nginx.loops.worker import work
from consul_nginx.metrics import (
    BUILD_INFO,
    CONSUL_DATA_AGE,
    CONSUL_WATCHES,
    CONSUL_WATCHES_FAILING,
    EVENT_LOOP_LAG,
    REJECTED_OBJECTS,
    forget_objects,
    tell_of_lead,
)
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.facts import Question
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.plan.survey import NONE_GONE
from consul_nginx.sandbox.renderer import Renderer
from consul_nginx.settings import OperatorSettings
from consul_nginx.tasks import forever

_log = logging.getLogger(__name__)

RESYNC_S = 300.0
# Of a Pod that ended while no operator ran, Consul may tell as if it lived.
PODS_PATIENCE_S = 5.0
# The pods need a moment to load what was written; asking them at once would only take the CPU.
REPORT_AFTER_S = 0.15
_LAG_PERIOD_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What the kopf handlers feed, and the client that they share.

    ``registering`` is None when nothing is registered. ``knows`` says whether an object of a
    LoadBalancer is as we left it, ``repair`` has it applied anew; ``template_changed`` is told of
    ConfigMaps with templates.
    """

    kube: KubeClient
    resources: Resources
    relist: Relist
    registering: Registering | None
    knows: Callable[[Kind, Mapping[str, Any], ObjectRef], bool]
    repair: Callable[[ObjectRef], None]
    template_changed: Callable[[ObjectRef], None]


@asynccontextmanager
async def running(settings: OperatorSettings) -> AsyncIterator[Runtime]:
    """Everything but kopf, while the context lasts."""
    async with AsyncExitStack() as stack:
        unguarded = await stack.enter_async_context(connect())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        to_do: WorkQueue[ObjectRef] = WorkQueue(name="apply")
        to_report: WorkQueue[ObjectRef] = WorkQueue(name="report")
        tasks = _Tasks()

        def everything_anew() -> None:
            """Find what was changed behind our back: read and apply everything anew."""
            for ref in resources.load_balancers.refs() | resources.named():
                repair(ref)

        def lead_changed(leading: bool) -> None:
            forget_objects()
            if leading:
                everything_anew()
            if registering is not None:
                registering.lead_changed()

        lead = _lead(settings=settings, kube=unguarded, changed=lead_changed)
        kube = unguarded.guarded(lead.require)
        batcher = Batcher(queue=to_do, settings=lambda ref: resources.batching(ref))
        resources = Resources(concerns=batcher.changed)
        consul = await stack.enter_async_context(
            consuls(
                settings=settings,
                read_token=ConsulTokens(kube=kube).read,
                may_write=lead.require,
            )
        )

        def consul_changed(query: ServiceQuery) -> None:
            for ref in load_balancers.asking(query):
                batcher.changed(ref)

        def fact_changed(question: Question) -> None:
            for ref in own_templates.asking(question):
                batcher.changed(ref)

        def template_changed(source: ObjectRef) -> None:
            for ref in own_templates.changed(source):
                to_do.add(ref)

        catalog = Catalog(reader=consul.sources, changed=consul_changed)
        certificates = Certificates(
            look=partial(certificate_in, kube=kube), changed=batcher.changed
        )
        authorities = Authorities(look=partial(authorities_in, kube=kube), changed=batcher.changed)
        users = UserFiles(look=partial(users_in, kube=kube), changed=batcher.changed)
        watches = FactWatches(reader=consul.sources, changed=fact_changed)
        renderer = Renderer()
        stack.push_async_callback(renderer.close)
        own_templates = OwnTemplates(
            store=TemplateStore(kube=kube),
            renderer=renderer,
            watches=watches,
            policy=settings.policy,
        )
        load_balancers = LoadBalancers(
            kube=kube,
            lead=lead,
            resources=resources,
            catalog=catalog,
            secrets=certificates,
            authorities=authorities,
            users=users,
            batcher=batcher,
            policy=settings.policy,
            own_templates=own_templates,
            nginx_image=NginxImage(
                name=settings.nginx_image, pull_secrets=settings.nginx_image_pull_secrets
            ),
            gone=lambda ref, marks: (
                NONE_GONE if registering is None else registering.gone(ref, marks)
            ),
        )
        reports = Reports(
            kube=kube,
            lead=lead,
            resources=resources,
            load_balancers=load_balancers,
            data_plane=DataPlane(kube=kube, session=session),
            events=Events(kube=kube),
        )
        relist = Relist(
            take=ResourceLists(kube=kube, resources=resources, namespaces=settings.namespaces).take,
            what="our resources",
            period=RESOURCES_PERIOD_S,
        )
        registering = _registering(
            settings=settings,
            kube=kube,
            lead=lead,
            resources=resources,
            consul=consul,
            load_balancers=load_balancers,
        )

        def repair(ref: ObjectRef) -> None:
            load_balancers.forget_observed(ref)
            to_do.add(ref)

        async def reconcile(ref: ObjectRef) -> float | None:
            try:
                return await load_balancers.reconcile(ref)
            finally:
                to_report.add_after(ref, delay=REPORT_AFTER_S)

        async def resync() -> None:
            while True:
                await asyncio.sleep(RESYNC_S)
                everything_anew()

        async def start_workers_once_synced() -> None:
            """Deciding on half of the resources would take the other half's routes down."""
            await relist.listed.wait()
            if registering is not None:
                await registering.pods_known(patience=PODS_PATIENCE_S)
            _log.info("all resources are known; reconciling begins")
            async with asyncio.TaskGroup() as workers:
                for _ in range(settings.workers):
                    for flow in (
                        partial(work, name="apply", queue=to_do, reconcile=reconcile),
                        partial(work, name="report", queue=to_report, reconcile=reports.reconcile),
                    ):
                        workers.create_task(forever(flow, name="workers"))
                workers.create_task(forever(resync, name="resync"))

        _register_gauges(catalog=catalog, watches=watches, resources=resources)
        stack.push_async_callback(catalog.close)
        stack.push_async_callback(watches.close)
        if isinstance(lead, LeaseElector):
            stack.push_async_callback(lead.release)
            tasks.start(lead.run, name="lead")
        stack.push_async_callback(tasks.stop)
        tasks.start(relist.run, name="lists")
        tasks.start(certificates.run, name="certificates")
        tasks.start(authorities.run, name="authorities")
        tasks.start(users.run, name="users")
        tasks.start(start_workers_once_synced, name="workers")
        if registering is not None:
            tasks.start(registering.run, name="registrar")
        tasks.start(_measure_lag, name="lag")
        tasks.start(partial(collect_in_quiet, quiet=lambda: to_do.depth == 0), name="garbage")
        await stack.enter_async_context(
            serve(
                port=settings.http_port,
                ready=lambda: None if resources.synced else "resources are not listed yet",
            )
        )
        yield Runtime(
            kube=kube,
            resources=resources,
            relist=relist,
            registering=registering,
            knows=lambda kind, raw, ref: load_balancers.knows(kind=kind, raw=raw, ref=ref),
            repair=repair,
            template_changed=template_changed,
        )


def _lead(
    *, settings: OperatorSettings, kube: KubeClient, changed: Callable[[bool], None]
) -> LeaseElector | AlwaysLeading:
    if settings.lease is None:
        return AlwaysLeading()
    elector = LeaseElector(
        kube=kube, ref=settings.lease, identity=settings.identity, changed=changed
    )
    tell_of_lead(name=settings.lease.name, leading=lambda: elector.leading)
    return elector


def _registering(
    *,
    settings: OperatorSettings,
    kube: KubeClient,
    lead: LeaseElector | AlwaysLeading,
    resources: Resources,
    consul: Consuls,
    load_balancers: LoadBalancers,
) -> Registering | None:
    if settings.registration is None:
        return None
    return Registering(
        file=settings.registration,
        kube=kube,
        lead=lead,
        labels=resources.namespaces,
        namespaces=settings.namespaces,
        consul=consul,
        pod_fate=load_balancers.pod_fate,
        pods_known=load_balancers.pods_known,
    )


class _Tasks:
    """Tasks that must run as long as the operator does."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Callable[[], Awaitable[None]], *, name: str) -> None:
        self._tasks.append(asyncio.create_task(forever(work, name=name), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _register_gauges(*, catalog: Catalog, watches: FactWatches, resources: Resources) -> None:
    CONSUL_WATCHES.set_function(lambda: catalog.watched + watches.watched)
    CONSUL_WATCHES_FAILING.set_function(lambda: catalog.failing + watches.failing)
    CONSUL_DATA_AGE.set_function(lambda: catalog.age)
    REJECTED_OBJECTS.count = resources.rejected
    BUILD_INFO.labels(
        version=version("consul-nginx-operator"), python=platform.python_version()
    ).set(1)


async def _measure_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_PERIOD_S
        await asyncio.sleep(_LAG_PERIOD_S)
        EVENT_LOOP_LAG.observe(max(loop.time() - due, 0.0))
