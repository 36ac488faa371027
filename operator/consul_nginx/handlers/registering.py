"""Puts the registrar together: Pods come in, registrations go out."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from consul_nginx.handlers.consuls import Consuls
from consul_nginx.handlers.lists import PODS_PERIOD_S, PodLists
from consul_nginx.handlers.relist import Relist
from consul_nginx.kube.client import KubeClient
from consul_nginx.kube.errors import KubeError
from consul_nginx.kube.identity import cluster_identity
from consul_nginx.loops.comparison import Comparison
from consul_nginx.loops.drift import DriftWatch
from consul_nginx.loops.events import Events
from consul_nginx.loops.gone import Gone
from consul_nginx.loops.lead import Lead
from consul_nginx.loops.namespaces import Namespaces
from consul_nginx.loops.pacing import Pacer
from consul_nginx.loops.pod_events import PodEvents
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.refresh import keep_fresh
from consul_nginx.loops.registrar import LIST_AGAIN_S, Registrar, Registry
from consul_nginx.loops.retired import Retired
from consul_nginx.loops.wishes import Wishes
from consul_nginx.loops.worker import work
from consul_nginx.metrics import REGISTRATION_AGE, REGISTRATIONS, REJECTED_ANNOTATIONS
from consul_nginx.model.consul import PodMark
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Mode, Place
from consul_nginx.plan.survey import NONE_GONE, GonePods
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.resources.registration import RegistrationFile
from consul_nginx.tasks import forever

_log = logging.getLogger(__name__)

# Agents of nodes that are gone take a worker each until they time out: a zone may have a hundred.
WORKERS = {Mode.AGENT: 128, Mode.CATALOG: 16}
# When Consul answers again, everything is compared at once; of an agent nobody tells that.
LONGEST_BACKOFF_S = {Mode.AGENT: 5.0, Mode.CATALOG: 30.0}
IDENTITY_RETRY_S = 5.0
# Time for an agent to tell the servers, or for a write that is under way to be seen.
SETTLE_S = 1.0


class Registering:
    """The registrar, and the feed of Pods.

    ``namespaces`` are the only ones whose Pods may be read; empty: all. ``pod_fate`` is called with
    the UID of each Pod that comes or is gone, ``pods_known`` once all are known, and when more is
    of those that are missing.
    """

    def __init__(
        self,
        *,
        file: RegistrationFile,
        kube: KubeClient,
        lead: Lead,
        labels: Namespaces,
        namespaces: tuple[str, ...],
        consul: Consuls,
        pod_fate: Callable[[str], None],
        pods_known: Callable[[], None],
    ) -> None:
        self._file = file
        self._pods_known = pods_known
        self._cluster = ""
        self._known = asyncio.Event()
        self._kube = kube
        self._lead = lead
        self._labels = labels
        self._consul = consul
        self._queue: WorkQueue[str] = WorkQueue(
            name="register", longest_backoff=LONGEST_BACKOFF_S[file.settings.mode]
        )
        self._pods = Pods(parse=parse_pod, changed=Pacer(queue=self._queue).changed)
        self._pods.subscribe(pod_fate)
        self._gone = Gone(pods=self._pods)
        self._pods.subscribe_lists(self._listed)
        self._relist = Relist(
            take=PodLists(kube=kube, pods=self._pods, namespaces=namespaces).take,
            what="Pods",
            period=PODS_PERIOD_S,
        )
        self._led_anew: Callable[[], None] = lambda: None

    def feed(self, event: str | None, raw: Mapping[str, Any]) -> None:
        """What kopf saw of a Pod."""
        if event == "DELETED":
            self._pods.remove(raw)
            return
        self._pods.put(raw)
        if event is None:
            self._relist.ask()

    def lead_changed(self) -> None:
        """Another replica wrote meanwhile, or will from here on."""
        self._led_anew()

    def gone(self, load_balancer: ObjectRef, marks: Collection[PodMark]) -> GonePods:
        """Those of the Pods that a LoadBalancer's instances name which are gone; none before all
        are known.
        """
        if not self._cluster:
            return NONE_GONE
        return self._gone.of(load_balancer, marks=marks, cluster=self._cluster)

    def _listed(self, _: str | None) -> None:
        if self._gone.misses:
            self._pods_known()

    async def pods_known(self, *, patience: float) -> None:
        """Wait until all Pods are known, at most ``patience`` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._known.wait()
        except TimeoutError:
            _log.warning("Pods are not known yet: none that Consul has can be told to be gone")

    async def run(self) -> None:
        """Never returns."""
        file = await self._named()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forever(self._relist.run, name="lists", what="of Pods"))
            await self._relist.listed.wait()
            _log.info("all Pods are known; this is cluster %s in Consul", file.settings.cluster)
            self._cluster = file.settings.cluster
            self._known.set()
            self._pods_known()
            self._start(tasks, file)

    def _start(self, tasks: asyncio.TaskGroup, file: RegistrationFile) -> None:
        settings = file.settings
        agents, catalog = self._consul.agents(file), self._consul.catalog(settings)
        by_agents = settings.mode is Mode.AGENT
        registry: Registry = agents if by_agents else catalog
        wishes = Wishes(settings=settings, pods=self._pods, namespaces=self._labels)
        events = PodEvents(events=Events(kube=self._kube))
        registrar = Registrar(
            settings=settings,
            pods=self._pods,
            wishes=wishes,
            registry=registry,
            lead=self._lead,
            tell=events.tell,
        )

        async def nodes() -> frozenset[str]:
            return self._pods.nodes() | await catalog.places()

        def compare(node: str) -> None:
            registrar.due(node)
            self._queue.add(node)

        def compare_soon(node: str) -> None:
            registrar.due(node)
            self._queue.add_after(node, delay=SETTLE_S)

        comparison = Comparison(nodes=nodes, compare=compare, leading=lambda: self._lead.leading)

        async def synthetic() -> tuple[Place, ...]:
            return tuple(Place(node=node) for node in await catalog.places())

        async def without_pods() -> tuple[Place, ...]:
            """Agents of nodes that have no Pods that we may see: no comparison looks there."""
            compared = {self._pods.place(node).ip for node in self._pods.nodes()}
            return tuple(
                member for member in await self._consul.members() if member.ip not in compared
            )

        unfollowed = partial(
            Retired,
            cluster=settings.cluster,
            pods=self._pods,
            is_compared=lambda: comparison.is_complete,
            confirm=self._list_twice,
        )
        retired = {
            "another mode's": unfollowed(registry=catalog, places=synthetic)
            if by_agents
            else unfollowed(registry=agents, places=self._consul.members)
        }
        if by_agents:
            retired["nodes without Pods"] = unfollowed(
                registry=agents, places=without_pods, spares=self._pods.lives
            )

        async def reconcile(node: str) -> float | None:
            again = await registrar.reconcile(node)
            comparison.done(node)
            if again is not None:
                self._list_twice()
            return again

        def led_anew() -> None:
            registrar.forget_all()
            wishes.forget_all()
            comparison.ask_at_once()

        def something_unknown() -> None:
            comparison.ask()
            for one in retired.values():
                one.ask()

        drift = DriftWatch(
            witness=self._consul.witness(settings),
            leading=lambda: self._lead.leading,
            settled=lambda: registrar.settled,
            compare=compare_soon,
            compared=lambda: comparison.is_complete,
            unknown=something_unknown,
            recovered=comparison.ask_at_once,
        )
        self._led_anew = led_anew
        if settings.all_pods_in is not None:
            self._labels.subscribe(comparison.ask_at_once)
        for state in registrar.states():
            REGISTRATIONS.labels(state=state).set_function(partial(registrar.count, state))
        REGISTRATION_AGE.set_function(lambda: comparison.age)
        REJECTED_ANNOTATIONS.count = wishes.rejected
        for _ in range(WORKERS[settings.mode]):
            flow = partial(work, name="register", queue=self._queue, reconcile=reconcile)
            tasks.create_task(forever(flow, name="registrar", what="worker"))
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "comparison": comparison.run,
            "drift": drift.run,
            "Events of Pods": events.run,
            **{what: one.run for what, one in retired.items()},
        }
        if by_agents:
            parts["TTL checks"] = partial(
                keep_fresh,
                agents=agents,
                pods=self._pods,
                settled=lambda: registrar.settled,
                leading=lambda: self._lead.leading,
            )
        for what, part in parts.items():
            tasks.create_task(forever(part, name="registrar", what=what))

    def _list_twice(self) -> None:
        """As the brake needs it to let go of Pods that are missing."""
        self._relist.ask()
        asyncio.get_running_loop().call_later(LIST_AGAIN_S, self._relist.ask)

    async def _named(self) -> RegistrationFile:
        """The settings, with the cluster's identity when they give it no name."""
        while not self._file.settings.cluster:
            try:
                identity = await cluster_identity(self._kube)
            except KubeError as error:
                _log.warning(
                    "nothing is registered: registration.clusterName is not set, and the "
                    "cluster's identity can't be read: %s",
                    str(error).strip(),
                )
                await asyncio.sleep(IDENTITY_RETRY_S)
            else:
                settings = self._file.settings_of(cluster=identity)
                return dataclasses.replace(self._file, settings=settings)
        return self._file
