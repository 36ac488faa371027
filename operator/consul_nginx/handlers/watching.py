"""kopf watches our two kinds and feeds the stores, and that is all it does.

``on.event`` writes nothing to the objects: no finalizers, no annotations, so that an uninstall in
any order hangs nothing.

kopf runs in a thread with an event loop of its own and is begun anew when it ends: one watch that
answers 404, as it does for a moment when somebody deletes a CRD, ends all of kopf (1.45.2), and at
its end kopf cancels every task of its loop that is younger than itself. What it feeds lives on.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import kopf

from consul_nginx.handlers.login import login
from consul_nginx.resources.base import GROUP, VERSION

_log = logging.getLogger(__name__)

PAUSE_S = 1.0
STOP_S = 10.0

Feed = Callable[[str | None, Mapping[str, Any]], None]


@contextmanager
def watching(*, namespaces: tuple[str, ...], feeds: Mapping[str, Feed]) -> Iterator[None]:
    """Watch while the context lasts.

    ``feeds`` has a function for each plural; it is called in the event loop of the caller with
    kopf's type of event (None for an object of a list) and the object.
    """
    registry = _registry(feeds=feeds, loop=asyncio.get_running_loop())
    stop = threading.Event()
    thread = threading.Thread(
        target=_watch_until,
        kwargs={"stop": stop, "registry": registry, "namespaces": namespaces},
        name="kopf",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_S)


def _watch_until(
    *, stop: threading.Event, registry: kopf.OperatorRegistry, namespaces: tuple[str, ...]
) -> None:
    while not stop.is_set():
        try:
            asyncio.run(
                kopf.operator(
                    registry=registry,
                    clusterwide=not namespaces,
                    namespaces=namespaces,
                    standalone=True,
                    stop_flag=stop,
                    # kopf would ask for the user's name, which a container's uid need not have.
                    identity=cast("Any", platform.node()),
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever ended kopf, watching must go on
            _log.warning("watching ended and begins anew: %s: %s", type(error).__name__, error)
        stop.wait(PAUSE_S)


def _registry(
    *, feeds: Mapping[str, Feed], loop: asyncio.AbstractEventLoop
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return login(**kwargs)

    for plural, feed in feeds.items():
        kopf.on.event(GROUP, VERSION, plural, registry=registry, id=plural)(
            _handing_over(feed=feed, loop=loop)
        )
    return registry


def _handing_over(*, feed: Feed, loop: asyncio.AbstractEventLoop) -> Any:
    async def hand_over(*, event: kopf.RawEvent, **_: Any) -> None:
        loop.call_soon_threadsafe(feed, event["type"], event["object"])

    return hand_over


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = (1, 1, 2, 3, 5)
