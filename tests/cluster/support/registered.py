"""What Consul holds of pods that were registered, and what it should hold."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from cluster.support.consul_api import agent_request
from cluster.support.waiting import wait_for
from consul_nginx.model.registration import (
    META_CLUSTER,
    META_NAMESPACE,
    META_POD,
    META_POD_UID,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from cluster.harness.cluster import Cluster

PASSING, CRITICAL = "passing", "critical"


@dataclass(frozen=True, kw_only=True, order=True)
class Owner:
    """The pod that a registration is of, as its Meta says."""

    cluster: str
    namespace: str
    pod: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registration; ``status`` is the worst of its own checks, empty without one."""

    id: str
    node: str
    address: str
    port: int
    tags: tuple[str, ...]
    owner: Owner
    status: str


def entries(consul: str, service: str) -> list[Entry]:
    """All instances of a service."""
    found = agent_request(consul, "GET", f"/v1/health/service/{service}")
    return [_entry(item) for item in found]


def wait_entries(
    consul: str,
    service: str,
    holds: Callable[[list[Entry]], bool],
    *,
    what: str,
    seconds: float = 60.0,
    interval: float = 0.3,
) -> list[Entry]:
    """Wait until something holds of a service's instances, also when Consul has no leader yet."""
    found: list[Entry] = []

    def probe() -> bool:
        nonlocal found
        try:
            found = entries(consul, service)
        except OSError:
            return False
        return holds(found)

    wait_for(probe, what=f"{service}: {what}", seconds=seconds, interval=interval)
    return found


def owners(found: Iterable[Entry], *, cluster: str = "", status: str = "") -> list[Owner]:
    """Whose they are, one for each registration; of one cluster only, with one status only."""
    return sorted(
        entry.owner
        for entry in found
        if cluster in ("", entry.owner.cluster) and status in ("", entry.status)
    )


def living(
    cluster: Cluster, *, of: str, namespace: str, selector: str = "", ready: bool = True
) -> list[Owner]:
    """Who should be registered: pods with an address that were not told to end."""
    words = ("get", "pods", "-n", namespace, f"--selector={selector}", "-o", "json")
    return sorted(
        Owner(
            cluster=of,
            namespace=namespace,
            pod=item["metadata"]["name"],
            uid=item["metadata"]["uid"],
        )
        for item in json.loads(cluster.kubectl(*words))["items"]
        if "deletionTimestamp" not in item["metadata"]
        and item["status"].get("podIP")
        and (_is_ready(item) or not ready)
    )


def deregister(consul: str, entry: Entry) -> None:
    """Remove a registration from the catalog, as somebody would by hand."""
    body = {"Node": entry.node, "ServiceID": entry.id}
    agent_request(consul, "PUT", "/v1/catalog/deregister", body)


def index_of(consul: str, service: str) -> str:
    """Consul's index of a service: it grows with every write to its instances or checks."""
    url = f"{consul}/v1/health/service/{service}?filter=Service.Port==0"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.headers["X-Consul-Index"])


@dataclass(kw_only=True)
class Seen:
    """When pods were first seen registered, and passing (``time.monotonic``), by name."""

    registered: dict[str, float]
    passing: dict[str, float]


@asynccontextmanager
async def watching(consul: str, service: str) -> AsyncIterator[Seen]:
    """Look at a service with blocking queries while the context lasts."""
    seen = Seen(registered={}, passing={})

    async def watch() -> None:
        index = "0"
        async with aiohttp.ClientSession(consul) as session:
            while True:
                query = {"index": index, "wait": "60s"}
                async with session.get(f"/v1/health/service/{service}", params=query) as answer:
                    answer.raise_for_status()
                    index = answer.headers["X-Consul-Index"]
                    found = await answer.json()
                now = time.monotonic()
                for entry in map(_entry, found):
                    seen.registered.setdefault(entry.owner.pod, now)
                    if entry.status == PASSING:
                        seen.passing.setdefault(entry.owner.pod, now)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _entry(item: dict[str, Any]) -> Entry:
    service = item["Service"]
    meta = service["Meta"] or {}
    own = [check["Status"] for check in item["Checks"] if check["ServiceID"] == service["ID"]]
    return Entry(
        id=service["ID"],
        node=item["Node"]["Node"],
        address=service["Address"],
        port=service["Port"],
        tags=tuple(service["Tags"] or ()),
        owner=Owner(
            cluster=meta.get(META_CLUSTER, ""),
            namespace=meta.get(META_NAMESPACE, ""),
            pod=meta.get(META_POD, ""),
            uid=meta.get(META_POD_UID, ""),
        ),
        status=CRITICAL if CRITICAL in own else next(iter(own), ""),
    )


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)
