"""The operator process: everything is started, kopf feeds it, a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from consul_nginx.handlers.runtime import Runtime, running
from consul_nginx.handlers.watching import Feed, watching
from consul_nginx.kube.client import LOAD_BALANCER, SERVICE_MAPPING
from consul_nginx.loops.store import Store
from consul_nginx.settings import OperatorSettings


async def run(settings: OperatorSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(running(settings))
        feeds = {
            plural: _feed(runtime=runtime, store=store)
            for plural, store in runtime.resources.stores.items()
        }
        for namespace in settings.namespaces or (None,):
            await stack.enter_async_context(
                watching(
                    namespace=namespace,
                    feeds=feeds,
                    kinds_exist=lambda: runtime.kube.serves((LOAD_BALANCER, SERVICE_MAPPING)),
                )
            )
        await stop.wait()


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
