"""What the nginx pods of a LoadBalancer really run: their agents are asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import aiohttp

from consul_nginx.kube.children import LABEL_LOAD_BALANCER, selector
from consul_nginx.kube.client import POD, KubeClient, Raw
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.layout import AGENT_PORT
from consul_nginx.model.pods import PodRejection, PodReport

ANSWER_TIMEOUT_S = 2.0
# An agent that does not answer says nothing about its nginx: what it said before holds a while.
BELIEVED_S = 30.0
_PARALLEL = 50


class DataPlane:
    """Asks the agents; owns one HTTP session for it."""

    def __init__(self, *, kube: KubeClient, session: aiohttp.ClientSession) -> None:
        self._kube = kube
        self._session = session
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._said: dict[str, tuple[float, PodReport]] = {}

    async def report(self, load_balancer: ObjectRef) -> tuple[PodReport, ...]:
        """Reports of all pods that are not on their way out, by name."""
        pods = await self._kube.list(
            POD,
            namespace=load_balancer.namespace,
            label_selector=selector(load_balancer),
        )
        living = _living(pods["items"])
        self._forget(load_balancer=load_balancer, names={_name(pod) for pod in living})
        return tuple(await asyncio.gather(*map(self._ask, living)))

    async def _ask(self, pod: Raw) -> PodReport:
        name, ready, address = _name(pod), _is_ready(pod), pod["status"].get("podIP")
        if not address:
            return PodReport(pod=name, ready=False, host=_host(pod), problem=_waiting_reason(pod))
        try:
            status = await self._status(address)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return self._silent(pod=pod, why=type(error).__name__)
        report = _report(pod=pod, ready=ready, status=status)
        self._said[_key(pod)] = (time.monotonic(), report)
        return report

    async def _status(self, address: str) -> Any:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{AGENT_PORT}/status"
        limits = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with self._slots, self._session.get(url, timeout=limits) as answer:
            return await answer.json()

    def _silent(self, *, pod: Raw, why: str) -> PodReport:
        at, said = self._said.get(_key(pod), (float("-inf"), None))
        ready = _is_ready(pod)
        if ready and said is not None and time.monotonic() - at < BELIEVED_S:
            return said
        problem = _waiting_reason(pod) or f"agent does not answer: {why}"
        return PodReport(pod=_name(pod), ready=ready, host=_host(pod), problem=problem)

    def _forget(self, *, load_balancer: ObjectRef, names: set[str]) -> None:
        prefix = f"{load_balancer}/"
        for key in [key for key in self._said if key.startswith(prefix)]:
            if key.rpartition("/")[2] not in names:
                del self._said[key]


def _name(pod: Raw) -> str:
    return str(pod["metadata"]["name"])


def _rejection(raw: Any) -> PodRejection | None:
    if not raw:
        return None
    files = raw.get("files")
    return PodRejection(
        hash=raw.get("hash"),
        stage=str(raw.get("stage")),
        message=str(raw.get("message")),
        files=None if files is None else tuple(map(str, files)),
    )


def _host(pod: Raw) -> str | None:
    host: str | None = pod["status"].get("hostIP")
    return host


def _key(pod: Raw) -> str:
    metadata = pod["metadata"]
    return f"{metadata['namespace']}/{metadata['labels'][LABEL_LOAD_BALANCER]}/{metadata['name']}"


def _living(pods: Iterable[Raw]) -> list[Raw]:
    return sorted(
        (
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ),
        key=_name,
    )


def _is_ready(pod: Raw) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _waiting_reason(pod: Raw) -> str | None:
    """Kubernetes' own words for why a pod does not run."""
    status = pod["status"]
    containers = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for container in containers:
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return f"{container['name']}: {waiting.get('reason')} {waiting.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return None


def _report(*, pod: Raw, ready: bool, status: Any) -> PodReport:
    serving = status.get("serving") or {}
    return PodReport(
        pod=_name(pod),
        ready=ready,
        host=_host(pod),
        revision=serving.get("revision"),
        rejection=_rejection(status.get("rejection")),
    )
