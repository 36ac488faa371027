"""Counts and times every request to the Kubernetes API, under client-go's names.

client-go labels requests with ``code``, ``method`` and ``host``, times with ``verb`` and ``host``
(k8s.io/component-base, ``metrics/prometheus/restclient``). There is one API server here, so its
address is left out.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import aiohttp

from consul_nginx.metrics import REST_REQUESTS, REST_SECONDS

# As client-go has it: texts of errors have no bounds.
_NO_ANSWER = "<error>"


def trace_config() -> aiohttp.TraceConfig:
    """For the session whose requests are to be counted."""
    config = aiohttp.TraceConfig()
    config.on_request_start.append(_started)
    config.on_request_end.append(_answered)
    config.on_request_exception.append(_failed)
    return config


async def _started(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestStartParams,
) -> None:
    context.started = time.perf_counter()


async def _answered(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestEndParams,
) -> None:
    _count(context=context, method=params.method, code=str(params.response.status))


async def _failed(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestExceptionParams,
) -> None:
    _count(context=context, method=params.method, code=_NO_ANSWER)


def _count(*, context: SimpleNamespace, method: str, code: str) -> None:
    REST_REQUESTS.labels(code=code, method=method).inc()
    REST_SECONDS.labels(verb=method).observe(time.perf_counter() - context.started)
