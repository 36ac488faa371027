"""What the nginx pods of a LoadBalancer really run: their agents are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp

from consul_nginx.kube.children import selector_labels
from consul_nginx.kube.client import POD, KubeClient, Raw
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.layout import AGENT_PORT
from consul_nginx.model.pods import PodReport

ANSWER_TIMEOUT_S = 2.0
_PARALLEL = 50


class DataPlane:
    """Asks the agents; owns one HTTP session for it."""

    def __init__(self, *, kube: KubeClient, session: aiohttp.ClientSession) -> None:
        self._kube = kube
        self._session = session
        self._slots = asyncio.Semaphore(_PARALLEL)

    async def report(self, load_balancer: ObjectRef) -> tuple[PodReport, ...]:
        """Reports of all pods that are not on their way out, by name."""
        labels = selector_labels(load_balancer)
        pods = await self._kube.list(
            POD,
            namespace=load_balancer.namespace,
            label_selector=",".join(f"{key}={value}" for key, value in labels.items()),
        )
        return tuple(await asyncio.gather(*map(self._ask, _living(pods["items"]))))

    async def _ask(self, pod: Raw) -> PodReport:
        name, ready = pod["metadata"]["name"], _is_ready(pod)
        address = pod["status"].get("podIP")
        if not address:
            return PodReport(pod=name, ready=False, problem=_waiting_reason(pod))
        host = f"[{address}]" if ":" in address else address
        limits = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        try:
            async with (
                self._slots,
                self._session.get(f"http://{host}:{AGENT_PORT}/status", timeout=limits) as answer,
            ):
                status = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            problem = f"agent does not answer: {type(error).__name__}"
            return PodReport(pod=name, ready=ready, problem=_waiting_reason(pod) or problem)
        return _report(name=name, ready=ready, status=status)


def _living(pods: Iterable[Raw]) -> list[Raw]:
    return sorted(
        (
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ),
        key=lambda pod: str(pod["metadata"]["name"]),
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


def _report(*, name: str, ready: bool, status: Any) -> PodReport:
    serving = status.get("serving") or {}
    rejection = status.get("rejection") or {}
    return PodReport(
        pod=name,
        ready=ready,
        revision=serving.get("revision"),
        rejection=(f"{rejection.get('stage')}: {rejection.get('message')}" if rejection else None),
    )
