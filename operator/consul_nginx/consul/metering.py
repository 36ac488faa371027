"""Counts and times every request to Consul."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from consul_nginx.consul.errors import ConsulError
from consul_nginx.metrics import CONSUL_REQUESTS, CONSUL_SECONDS


@contextmanager
def metered(*, path: str, blocking: bool) -> Iterator[None]:
    """Count the request that is sent within; one that is cancelled is not counted.

    ``path`` begins with ``/v1/``; the word after it is the label, because what follows has no
    bounds.
    """
    endpoint = path.split("/")[2]
    mode = "blocking" if blocking else "immediate"
    started = time.perf_counter()
    try:
        yield
    except ConsulError as error:
        CONSUL_REQUESTS.labels(endpoint=endpoint, mode=mode, outcome=error.kind).inc()
        raise
    CONSUL_REQUESTS.labels(endpoint=endpoint, mode=mode, outcome="success").inc()
    if not blocking:
        CONSUL_SECONDS.labels(endpoint=endpoint).observe(time.perf_counter() - started)
