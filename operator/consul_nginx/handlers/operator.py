"""The operator process: everything is started, kopf feeds it, a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from consul_nginx.handlers.children import children_feed
from consul_nginx.handlers.runtime import Runtime, running
from consul_nginx.handlers.watching import Feed, watching
from consul_nginx.kube.children import LABEL_LOAD_BALANCER
from consul_nginx.kube.client import (
    CHILD_KINDS,
    CONFIG_MAP,
    LOAD_BALANCER,
    NAMESPACE,
    POD,
    SERVICE_MAPPING,
    Kind,
)
from consul_nginx.kube.templates import TEMPLATE_SELECTOR
from consul_nginx.loops.store import Store
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.settings import OperatorSettings
from consul_nginx.tasks import unhandled


async def run(settings: OperatorSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(unhandled)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(running(settings))
        resources = runtime.resources
        stores: dict[Kind, Store[Any]] = {
            LOAD_BALANCER: resources.load_balancers,
            SERVICE_MAPPING: resources.mappings,
        }
        feeds = {kind: _feed(runtime=runtime, store=store) for kind, store in stores.items()}
        children = {
            kind: children_feed(kind=kind, knows=runtime.knows, repair=runtime.repair)
            for kind in CHILD_KINDS
        }
        for namespace in settings.namespaces or (None,):
            await stack.enter_async_context(
                watching(namespace=namespace, feeds=feeds, kinds_exist=_served(runtime, *stores))
            )
            await stack.enter_async_context(
                watching(
                    namespace=namespace,
                    feeds=children,
                    kinds_exist=_served(runtime),
                    label_selector=LABEL_LOAD_BALANCER,
                )
            )
            if settings.policy.templates:
                await stack.enter_async_context(
                    watching(
                        namespace=namespace,
                        feeds={CONFIG_MAP: _templates_feed(runtime)},
                        kinds_exist=_served(runtime),
                        label_selector=TEMPLATE_SELECTOR,
                    )
                )
            if runtime.registering is not None:
                await stack.enter_async_context(
                    watching(
                        namespace=namespace,
                        feeds={POD: runtime.registering.feed},
                        kinds_exist=_served(runtime),
                    )
                )
        if not settings.namespaces:
            await stack.enter_async_context(
                watching(
                    namespace=None,
                    feeds={NAMESPACE: _namespaces_feed(runtime)},
                    kinds_exist=_served(runtime),
                )
            )
        await stop.wait()


def _served(runtime: Runtime, *kinds: Kind) -> Callable[[], Coroutine[Any, Any, bool]]:
    return lambda: runtime.kube.serves(kinds)


def _feed(*, runtime: Runtime, store: Store[Any]) -> Feed:
    def feed(event: str | None, raw: Mapping[str, Any]) -> None:
        if not runtime.resources.covers(raw["metadata"]["namespace"]):
            runtime.relist.ask()
            return
        if event == "DELETED":
            store.remove(raw)
            return
        store.put(raw)
        if event is None:
            runtime.relist.ask()

    return feed


def _templates_feed(runtime: Runtime) -> Feed:
    """The ConfigMap itself is read when it is needed: an event only tells that it changed."""

    def feed(_event: str | None, raw: Mapping[str, Any]) -> None:
        metadata = raw["metadata"]
        ref = ObjectRef(namespace=metadata["namespace"], name=metadata["name"])
        runtime.template_changed(ref)

    return feed


def _namespaces_feed(runtime: Runtime) -> Feed:
    namespaces = runtime.resources.namespaces

    def feed(event: str | None, raw: Mapping[str, Any]) -> None:
        if namespaces.labels() is None:
            return
        if event == "DELETED":
            namespaces.remove(raw)
        else:
            namespaces.put(raw)

    return feed
