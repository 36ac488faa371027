"""Events of the objects that we made: a hand edit, or a deletion, is repaired at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from consul_nginx.handlers.watching import Feed
from consul_nginx.kube.children import LABEL_LOAD_BALANCER
from consul_nginx.kube.client import Kind
from consul_nginx.model.kubernetes import ObjectRef

# Our own write may be told of before the API server's answer to it is here.
SETTLE_S = 0.3

Knows = Callable[[Kind, Mapping[str, Any], ObjectRef], bool]


def children_feed(*, kind: Kind, knows: Knows, repair: Callable[[ObjectRef], None]) -> Feed:
    """A feed that calls ``repair`` for a LoadBalancer whose object is not as we left it."""

    def feed(event: str | None, raw: Mapping[str, Any]) -> None:
        metadata = raw["metadata"]
        name = (metadata.get("labels") or {}).get(LABEL_LOAD_BALANCER)
        if name is None:
            return
        ref = ObjectRef(namespace=metadata["namespace"], name=name)
        if event == "DELETED":
            repair(ref)
        elif not knows(kind, raw, ref):
            asyncio.get_running_loop().call_later(SETTLE_S, check, raw, ref)

    def check(raw: Mapping[str, Any], ref: ObjectRef) -> None:
        if not knows(kind, raw, ref):
            repair(ref)

    return feed
