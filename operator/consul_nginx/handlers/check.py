"""Is an installation well? What ``helm test`` runs, and a person in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.kube.client import LOAD_BALANCER, SERVICE_MAPPING, KubeClient
from consul_nginx.kube.errors import KubeError
from consul_nginx.model.consul import ServiceQuery

_PAUSE_S = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
# Consul's servers register themselves under this name, so there is always something to find.
_CONSUL_ITSELF = ServiceQuery(service="consul")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at, in words for people."""

    good: bool
    words: str


Probe = Callable[[], Awaitable[Finding]]


async def all_good(
    probes: Iterable[Probe], *, patience: float, tell: Callable[[Finding], None]
) -> bool:
    """Tell of each probe; one that finds fault is asked again for ``patience`` seconds in all."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    findings = []
    for probe in probes:
        finding = await probe()
        while not finding.good and loop.time() < deadline:
            await asyncio.sleep(_PAUSE_S)
            finding = await probe()
        tell(finding)
        findings.append(finding)
    return all(finding.good for finding in findings)


async def kinds_are_served(kube: KubeClient) -> Finding:
    """Whether the API server knows our custom resources."""
    kinds = (LOAD_BALANCER, SERVICE_MAPPING)
    names = " and ".join(kind.kind for kind in kinds)
    try:
        if await kube.serves(kinds):
            return Finding(good=True, words=f"Kubernetes serves {names}")
    except KubeError as error:
        return Finding(good=False, words=f"Kubernetes can't be asked: {str(error).strip()}")
    return Finding(
        good=False,
        words=f"Kubernetes does not serve {names}: kubectl apply --server-side -f crds/",
    )


async def consul_answers(
    *,
    transport: PooledTransport,
    datacenter: str | None,
    secret_token: str | None,
    address: str,
) -> Finding:
    """Whether Consul can be reached, and the token may read what the operator reads."""
    client = ConsulClient(http=transport, datacenter=datacenter, secret_token=secret_token)
    try:
        answer = await client.service(query=_CONSUL_ITSELF)
    except ConsulError as error:
        return Finding(good=False, words=f"Consul at {address}: {error}")
    return Finding(
        good=True, words=f"Consul at {address} answers; it has {len(answer.instances)} servers"
    )


async def operator_is_ready(*, session: aiohttp.ClientSession, url: str) -> Finding:
    """Whether the operator at ``url`` says that it is ready."""
    try:
        async with session.get(f"{url}/readyz", timeout=_TIMEOUT) as answer:
            said = (await answer.text()).strip()
            good = answer.status == 200
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(good=False, words=f"operator at {url}: {error or type(error).__name__}")
    return Finding(good=good, words=f"operator at {url}: {'ready' if good else said}")
