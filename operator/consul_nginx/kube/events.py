"""Events: what happened to an object, where ``kubectl describe`` shows it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from consul_nginx.kube.client import EVENT, Kind, Raw
from consul_nginx.model.kubernetes import Meta
from consul_nginx.model.verdict import Condition

COMPONENT = "consul-nginx-operator"

# The API server refuses longer ones.
_MAX_MESSAGE = 1024
# Of 253: the name of a Pod may be that long itself.
_MAX_NAME = 236


def news(*, verdicts: Iterable[Condition], before: Raw) -> Iterator[Condition]:
    """Conditions that people should hear of: another status or reason than ``before``, a status.

    ``Ready`` and ``NotAccepted`` repeat what others say, what is pending will be over in a moment.
    """
    known = {
        item["type"]: (item["status"], item["reason"]) for item in before.get("conditions") or ()
    }
    for verdict in verdicts:
        if verdict.type == "Ready" or verdict.reason in ("Pending", "NotAccepted"):
            continue
        if known.get(verdict.type) != (verdict.status.value, verdict.reason):
            yield verdict


def event_name(*, meta: Meta, condition: Condition) -> str:
    """Equal for equal happenings, which are counted in one Event."""
    identity = "\0".join((meta.uid, condition.type, condition.reason, condition.message))
    return f"{meta.ref.name[:_MAX_NAME]}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def event(
    *, kind: Kind, meta: Meta, condition: Condition, first: datetime, count: int
) -> dict[str, Any]:
    """An Event that tells of a condition; ``count`` times since ``first``."""
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {
            "name": event_name(meta=meta, condition=condition),
            "namespace": meta.ref.namespace,
        },
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": meta.ref.name,
            "namespace": meta.ref.namespace,
            "uid": meta.uid,
        },
        "type": "Normal" if condition.is_true else "Warning",
        "reason": condition.reason,
        "message": condition.message[:_MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": _text(first),
        "lastTimestamp": _text(datetime.now(UTC)),
        "count": count,
    }


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
