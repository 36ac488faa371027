"""The memory of what was accepted last."""

from __future__ import annotations

import pytest

from consul_nginx.kube.state import STATE_KEY, State, decode_state, encode_state, essence
from consul_nginx.loops.memory import Memory
from unit.factories import load_balancer, load_balancer_raw, mapping, mapping_raw

RAWS = {"uid-a": essence(mapping_raw("a")), "uid-b": essence(mapping_raw("b"))}
EDGE = essence(load_balancer_raw())


def test_what_is_encoded_is_decoded_and_equal_states_are_equal_bytes():
    state = State(load_balancer=EDGE, mappings=RAWS)
    assert decode_state(encode_state(state)) == state
    turned = State(load_balancer=EDGE, mappings=dict(reversed(RAWS.items())))
    assert encode_state(state) == encode_state(turned)


def test_status_and_annotations_are_not_remembered():
    raw = mapping_raw("a", meta={"annotations": {"x": "y"}, "managedFields": []})
    assert essence({**raw, "status": {"conditions": []}}) == RAWS["uid-a"]


@pytest.mark.parametrize(
    "data",
    [{}, {STATE_KEY: "?"}, {STATE_KEY: "AAAA"}, {STATE_KEY: "H4sIAAAAAAAAAwMAAAAAAAAAAAA="}],
)
def test_a_damaged_state_remembers_nothing(data):
    assert decode_state(data) == State()


class ConfigMaps:
    """The two calls of the client that the memory makes (unit level only)."""

    def __init__(self):
        self.written = []

    async def get(self, kind, ref):
        return None

    async def write(self, kind, body):
        self.written.append(body)
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "7"}}


async def test_what_is_forgotten_while_a_plan_is_made_is_kept_all_the_same():
    """A resync forgets, so that everything is read anew, at any time."""
    kube, edge, web = ConfigMaps(), load_balancer(), mapping()
    memory = Memory(kube=kube)
    before = await memory.recall(edge.meta.ref)
    memory.forget(edge.meta.ref)
    state = State(load_balancer=EDGE, mappings={"uid-web": essence(mapping_raw())})
    await memory.keep(load_balancer=edge, state=state, before=before)
    assert decode_state(kube.written[0]["binaryData"]) == state
    recalled = await memory.recall(edge.meta.ref)
    assert (recalled.load_balancer, recalled.mappings) == (edge, {"uid-web": web})
