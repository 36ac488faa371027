"""What of a state a ConfigMap can hold: the least needed is left out first. Pure.

A mapping and its listener's text take about 100 bytes each, compressed; a thousand of them are far
from the limit. Long answers of mappings (``fixedResponse``) and own templates may reach it.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from consul_nginx.kube.held import write_held
from consul_nginx.kube.state import STATE_KEY, State, encode_state

# The API server takes one MiB of a ConfigMap's data.
MAX_BYTES = 900_000
# So that the next word of an edit does not have it all counted again.
_AIM = 0.95


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """``binaryData`` of a ConfigMap, and how much is not in it, by kind."""

    data: Mapping[str, str]
    left_out: Mapping[str, int]


class _Part(NamedTuple):
    """The most needed has the highest rank; of equal ones the largest goes first."""

    rank: int
    minus_bytes: int
    kind: str
    key: str


def fitted(state: State, *, in_use: Collection[str] = (), limit: int = MAX_BYTES) -> Fitted:
    """As much of a state as has room in ``limit`` bytes.

    First go texts that nginx ran: they matter when it refuses another. Then instances of services
    that Consul does not tell of, which matter to an operator that starts meanwhile; then mappings,
    last those that are served in the form that is remembered (uids ``in_use``).
    """
    data = encode_state(state)
    if _bytes(data) <= limit:
        return Fitted(data=data, left_out={})
    parts = sorted(_parts(state, in_use=in_use))
    gone: set[tuple[str, str]] = set()
    while (size := _bytes(data)) > limit and len(gone) < len(parts):
        rest = parts[len(gone) :]
        # Mappings are much alike: one takes less of the whole than it takes alone.
        share = size / sum(-part.minus_bytes for part in rest) if rest[0].rank > 1 else 1.0
        excess = size - _AIM * limit
        for part in rest:
            if excess <= 0 or part.rank > rest[0].rank:
                break
            gone.add((part.kind, part.key))
            excess += part.minus_bytes * share
        data = encode_state(_without(state, gone))
    return Fitted(data=data, left_out=Counter(kind for kind, _ in gone))


def _bytes(data: Mapping[str, str]) -> int:
    return len(data[STATE_KEY]) * 3 // 4


def _parts(state: State, *, in_use: Collection[str]) -> Iterator[_Part]:
    for name, text in state.proven.items():
        yield _part(0, "texts", name, text)
    for key, item in state.held.items():
        yield _part(1, "services", key, write_held(item))
    for uid, raw in state.mappings.items():
        yield _part(3 if uid in in_use else 2, "mappings", uid, raw)
    yield _part(4, "load_balancer", "", state.load_balancer)


def _part(rank: int, kind: str, key: str, content: Any) -> _Part:
    size = len(zlib.compress(json.dumps(content).encode(), 1))
    return _Part(rank, -size, kind, key)


def _without(state: State, gone: Collection[tuple[str, str]]) -> State:
    def rest(kind: str, items: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: item for key, item in items.items() if (kind, key) not in gone}

    return replace(
        state,
        load_balancer=None if ("load_balancer", "") in gone else state.load_balancer,
        proven=rest("texts", state.proven),
        held=rest("services", state.held),
        mappings=rest("mappings", state.mappings),
    )
