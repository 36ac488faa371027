"""ConfigMap ``<lb>-state``: what was accepted last, of a LoadBalancer and of its mappings. Pure.

What is rejected today may have been fine yesterday, and goes on being served in that form, also by
an operator that was started since. Objects are kept as they were written, and validated again when
they are read.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consul_nginx.kube.client import Raw

STATE_KEY = "accepted.json.gz"

_METADATA = ("namespace", "name", "uid", "generation", "creationTimestamp")


@dataclass(frozen=True, kw_only=True)
class State:
    """The LoadBalancer, None when it never was accepted, and mappings by uid.

    ``proven`` are the files, without endpoints, that nginx ran last in all pods.
    """

    load_balancer: Raw | None = None
    mappings: Mapping[str, Raw] = field(default_factory=dict)
    proven: Mapping[str, str] = field(default_factory=dict)


def essence(raw: Raw) -> dict[str, Any]:
    """What has to be remembered of an object."""
    metadata = {key: raw["metadata"][key] for key in _METADATA}
    return {"metadata": metadata, "spec": raw["spec"]}


def encode_state(state: State) -> dict[str, str]:
    """``binaryData`` that holds the state; equal states give equal bytes."""
    text = json.dumps(
        {
            "loadBalancer": state.load_balancer,
            "mappings": dict(state.mappings),
            "proven": dict(state.proven),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return {STATE_KEY: b64encode(gzip.compress(text.encode(), mtime=0)).decode()}


def decode_state(data: Mapping[str, str]) -> State:
    """The state; one that somebody damaged remembers nothing."""
    try:
        raw = json.loads(gzip.decompress(b64decode(data[STATE_KEY], validate=True)))
        load_balancer = raw["loadBalancer"]
        return State(
            load_balancer=None if load_balancer is None else essence(load_balancer),
            mappings={uid: essence(item) for uid, item in raw["mappings"].items()},
            proven={str(name): str(text) for name, text in raw["proven"].items()},
        )
    except (LookupError, ValueError, TypeError, AttributeError, OSError, EOFError):
        return State()
