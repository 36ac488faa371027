"""kopf watches, and feeds what it sees to functions of ours, and that is all it does.

``on.event`` writes nothing to the objects: no finalizers, no annotations, so that an uninstall in
any order hangs nothing.

kopf runs in a thread with an event loop of its own and is begun anew when it ends: one watch that
answers 404, as it does when somebody deletes a CRD, ends all of kopf (1.45.2), and at its end kopf
cancels every task of its loop that is younger than itself. What it feeds lives on.

kopf's own scanning for CRDs is off: it looks once when a CRD is established, and stays deaf for a
kind that the API server's discovery tells of a moment later (seen with 1.45.2). It is begun when
discovery knows the kinds instead, and needs no right to read CRDs and namespaces.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager
from typing import Any, cast

import kopf

from consul_nginx.handlers.login import login
from consul_nginx.kube.client import Kind
from consul_nginx.model.kubernetes import GROUP
from consul_nginx.tasks import crashed

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STOP_S = 10.0

Feed = Callable[[str | None, Mapping[str, Any]], None]
KindsExist = Callable[[], Coroutine[Any, Any, bool]]


@asynccontextmanager
async def watching(
    *,
    namespace: str | None,
    feeds: Mapping[Kind, Feed],
    kinds_exist: KindsExist,
    label_selector: str | None = None,
) -> AsyncIterator[None]:
    """Watch one namespace, or all of them, while the context lasts.

    Each namespace has a kopf of its own: one that was deleted, or may no longer be read, ends its
    kopf again and again, and no other.

    ``feeds`` has a function for each kind; it is called with kopf's type of event (None for an
    object of a list) and the object. It and ``kinds_exist`` run in the event loop of the caller.
    With ``label_selector``, only objects that it selects are watched.
    """
    loop = asyncio.get_running_loop()
    stop: Future[None] = Future()
    thread = threading.Thread(
        target=_watch_until,
        kwargs={
            "stop": stop,
            "registry": _registry(feeds=feeds, loop=loop, label_selector=label_selector),
            "namespace": namespace,
            "kinds_exist": lambda: asyncio.run_coroutine_threadsafe(kinds_exist(), loop).result(),
        },
        name="kopf",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set_result(None)
        await asyncio.to_thread(thread.join, STOP_S)


def _watch_until(
    *,
    stop: Future[None],
    registry: kopf.OperatorRegistry,
    namespace: str | None,
    kinds_exist: Callable[[], bool],
) -> None:
    pause = FIRST_PAUSE_S
    while not stop.done():
        began = time.monotonic()
        try:
            if not kinds_exist():
                wait([stop], timeout=FIRST_PAUSE_S)
                continue
            asyncio.run(_watch_once(stop=stop, registry=registry, namespace=namespace))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - watching must go on
            _log.warning(
                "watching %s ended and begins anew: %s: %s",
                f"namespace {namespace}" if namespace else "all namespaces",
                type(error).__name__,
                str(error).strip(),
            )
        ran_well = time.monotonic() - began > LONGEST_PAUSE_S
        pause = FIRST_PAUSE_S if ran_well else min(pause * 2, LONGEST_PAUSE_S)
        wait([stop], timeout=pause)


async def _watch_once(
    *, stop: Future[None], registry: kopf.OperatorRegistry, namespace: str | None
) -> None:
    # A flag of another kind would make kopf wait for it in a thread, and its end wait for that.
    flag, loop = asyncio.Event(), asyncio.get_running_loop()

    def raise_flag(_: Future[None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(flag.set)

    stop.add_done_callback(raise_flag)
    await kopf.operator(
        registry=registry,
        clusterwide=namespace is None,
        namespaces=() if namespace is None else (namespace,),
        standalone=True,
        stop_flag=flag,
        # kopf would ask for the user's name, which a container's uid need not have.
        identity=cast("Any", platform.node()),
    )


def _registry(
    *,
    feeds: Mapping[Kind, Feed],
    loop: asyncio.AbstractEventLoop,
    label_selector: str | None,
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        if label_selector is not None:
            for kind in feeds:
                key = (kind.group, kind.version, kind.plural)
                settings.watching.label_selectors[key] = label_selector

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return login(**kwargs)

    for kind, feed in feeds.items():
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)(
            _handing_over(feed=feed, loop=loop)
        )
    return registry


def _handing_over(*, feed: Feed, loop: asyncio.AbstractEventLoop) -> Any:
    def take(event: kopf.RawEvent) -> None:
        try:
            feed(event["type"], event["object"])
        except Exception as error:  # noqa: BLE001 - one object's bug must not cost the others
            crashed("feed", error, what=str(event["object"].get("metadata", {}).get("name")))

    async def hand_over(*, event: kopf.RawEvent, **_: Any) -> None:
        loop.call_soon_threadsafe(take, event)

    return hand_over


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = (1, 1, 2, 3, 5)
