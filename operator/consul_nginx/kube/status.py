"""Status as the API server wants it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from consul_nginx.kube.client import Kind, Raw
from consul_nginx.model.verdict import Condition

_MAX_MESSAGE = 4096


def conditions(
    *, verdicts: Iterable[Condition], generation: int, before: Raw
) -> list[dict[str, Any]]:
    """Conditions sorted by type; a status that did not change keeps its transition time."""
    times = {
        item["type"]: (item["status"], item["lastTransitionTime"])
        for item in before.get("conditions") or ()
    }
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    result = []
    for verdict in sorted(verdicts, key=lambda item: item.type):
        status, since = times.get(verdict.type, (None, now))
        result.append(
            {
                "type": verdict.type,
                "status": verdict.status.value,
                "reason": verdict.reason,
                "message": verdict.message[:_MAX_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": since if status == verdict.status.value else now,
            }
        )
    return result


def without_times(status: Raw) -> dict[str, Any]:
    """Status to compare with another: conditions by type, without transition times."""
    return {
        **status,
        "conditions": {
            item["type"]: {k: v for k, v in item.items() if k != "lastTransitionTime"}
            for item in status.get("conditions") or ()
        },
    }


def status_body(*, kind: Kind, raw: Raw, status: Mapping[str, Any]) -> dict[str, Any]:
    """Body of a server-side apply of the status of exactly this version of an object."""
    metadata = raw["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion")
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {name: metadata[name] for name in names},
        "status": dict(status),
    }


def service_addresses(service: Raw | None) -> list[str]:
    """Where a Service is reached: its load balancer's addresses, else its cluster address."""
    if service is None:
        return []
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    outside = [item.get("hostname") or item.get("ip") for item in ingress]
    return [address for address in outside if address] or [
        address for address in (service["spec"].get("clusterIP"),) if address not in (None, "None")
    ]
