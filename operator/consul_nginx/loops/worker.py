"""Workers that take keys from a queue and run one reconcile function on them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from consul_nginx.consul.errors import ConsulError
from consul_nginx.kube.errors import KubeConflict, KubeError, NotLeading
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.metrics import RECONCILE_SECONDS, RECONCILES

_log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)


async def work(
    *,
    name: str,
    queue: WorkQueue[Key],
    reconcile: Callable[[Key], Awaitable[float | None]],
) -> None:
    """Work for ever. A failure is tried again with a growing delay; nothing ends the worker.

    ``reconcile`` returns in how many seconds to do it again, or None.
    """
    while True:
        key = await queue.get()
        started = time.perf_counter()
        outcome = "success"
        try:
            again = await reconcile(key)
        except asyncio.CancelledError:
            # Else nobody who works here after us is ever given this key again.
            queue.retry(key)
            raise
        except NotLeading as error:
            outcome = "standby"
            queue.done(key)
            _log.debug("%s %s: %s", name, key, error)
        except KubeConflict as error:
            outcome = "conflict"
            delay = queue.retry(key)
            _log.debug("%s %s: %s; again in %.2f s", name, key, error, delay)
        except ConsulError as error:
            outcome = "error"
            delay = queue.retry(key)
            # Whoever asked told of it once: Consul may be away for hours.
            _log.debug("%s %s: %s; again in %.1f s", name, key, error, delay)
        except KubeError as error:
            outcome = "error"
            delay = queue.retry(key)
            _log.warning("%s %s: %s; again in %.1f s", name, key, error, delay)
        except Exception:  # noqa: BLE001 - one object's bug must not stop the others
            outcome = "bug"
            delay = queue.retry(key)
            _log.exception("%s %s: a bug; again in %.1f s", name, key, delay)
        else:
            queue.done(key)
            if again is not None:
                queue.add_after(key, delay=again)
        RECONCILES.labels(flow=name, outcome=outcome).inc()
        RECONCILE_SECONDS.labels(flow=name).observe(time.perf_counter() - started)
