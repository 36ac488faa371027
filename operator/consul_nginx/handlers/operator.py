"""The kopf operator: events of our two kinds go into the stores, and that is all it does.

``on.event`` writes nothing to the objects: no finalizers, no annotations, so that an uninstall in
any order hangs nothing.
"""

from __future__ import annotations

import platform
from contextlib import AsyncExitStack
from typing import Any, cast

import kopf

from consul_nginx.handlers.login import login
from consul_nginx.handlers.runtime import Runtime, running
from consul_nginx.loops.store import Store
from consul_nginx.resources.base import GROUP, VERSION
from consul_nginx.settings import OperatorSettings


async def run(settings: OperatorSettings) -> None:
    """Run until a signal ends it."""
    await kopf.operator(
        registry=_registry(settings),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        standalone=True,
        # kopf would ask for the user's name, which a container's uid need not have.
        identity=cast("Any", platform.node()),
    )


def _registry(settings: OperatorSettings) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    stack = AsyncExitStack()
    runtime: Runtime | None = None

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        nonlocal runtime
        _configure(settings)
        runtime = await stack.enter_async_context(running(operator_settings))

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await stack.aclose()

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return login(**kwargs)

    @kopf.on.event(GROUP, VERSION, "loadbalancers", registry=registry)
    async def load_balancer(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        if runtime is not None:
            _feed(runtime=runtime, store=runtime.resources.load_balancers, type=type, body=body)

    @kopf.on.event(GROUP, VERSION, "servicemappings", registry=registry)
    async def service_mapping(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        if runtime is not None:
            _feed(runtime=runtime, store=runtime.resources.mappings, type=type, body=body)

    operator_settings = settings
    return registry


def _feed(
    *,
    runtime: Runtime,
    store: Store[Any],
    type: str | None,  # noqa: A002 - kopf's name
    body: kopf.Body,
) -> None:
    raw = dict(body)
    if type == "DELETED":
        store.remove(raw)
        return
    store.put(raw)
    if type is None:
        runtime.relist.ask()


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = (1, 1, 2, 3, 5)
