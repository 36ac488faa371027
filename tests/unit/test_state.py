"""The memory of what was accepted last."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from dataclasses import replace

import pytest

from consul_nginx.kube.state import (
    STATE_KEY,
    State,
    decode_state,
    encode_state,
    essence,
    query_key,
)
from consul_nginx.loops.memory import Memory
from consul_nginx.model.consul import Health, PodMark, ServiceQuery, Spell, Spells
from consul_nginx.model.history import Recollection
from unit.factories import instance, load_balancer, load_balancer_raw, mapping, mapping_raw

RAWS = {"uid-a": essence(mapping_raw("a")), "uid-b": essence(mapping_raw("b"))}
EDGE = essence(load_balancer_raw())


def test_what_is_encoded_is_decoded_and_equal_states_are_equal_bytes():
    state = State(load_balancer=EDGE, mappings=RAWS)
    assert decode_state(encode_state(state)) == state
    turned = State(load_balancer=EDGE, mappings=dict(reversed(RAWS.items())))
    assert encode_state(state) == encode_state(turned)


def test_what_is_held_is_remembered_with_its_pods_and_times():
    pod = PodMark(cluster="c", namespace="shop", uid="6f1e")
    well, ill, new = (replace(instance(f"10.0.0.{n}", weight=n), pod=pod) for n in (1, 2, 3))
    ill = replace(ill, health=Health.CRITICAL)
    history = {
        ill.identity: Spells(passing=Spell(began=1.5, ended=2.5, returned=True), bearable=None),
        new.identity: Spells(passing=Spell(began=3.0), bearable=Spell()),
    }
    held = {"4f": Recollection(at=1795331400.25, instances=(well, ill, new), history=history)}
    state = State(load_balancer=EDGE, mappings=RAWS, held=held)
    assert decode_state(encode_state(state)) == state


@pytest.mark.parametrize(
    "damage",
    [
        {"instances": [["web"]]},
        {"instances": [[["web", "n", "10.0.0.1", "x", "passing", 1], ["", "", ""], None]]},
        {"instances": [[["web", "n", "10.0.0.1", 80, "fine", 1], ["", "", ""], None]]},
        {"instances": [[["web", "n", "10.0.0.1", 80, "passing", 1], None, None]]},
        {"instances": None},
        {},
        7,
    ],
)
def test_a_damaged_memory_of_instances_remembers_nothing(damage):
    held = {"at": 1.0, **damage} if isinstance(damage, dict) else damage
    raw = {"loadBalancer": EDGE, "mappings": RAWS, "proven": {}, "held": {"4f": held}}
    packed = b64encode(gzip.compress(json.dumps(raw).encode())).decode()
    assert decode_state({STATE_KEY: packed}) == State()


def test_equal_queries_have_equal_keys_and_others_another():
    one, other = ServiceQuery(service="web", tags=("a",)), ServiceQuery(service="web")
    assert query_key(one) == query_key(replace(other, tags=("a",))) != query_key(other)


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
