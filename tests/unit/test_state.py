"""The memory of what was accepted last."""

from __future__ import annotations

import pytest

from consul_nginx.kube.state import STATE_KEY, decode_state, encode_state, essence
from unit.factories import mapping_raw

RAWS = {"uid-a": essence(mapping_raw("a")), "uid-b": essence(mapping_raw("b"))}


def test_what_is_encoded_is_decoded_and_equal_states_are_equal_bytes():
    assert decode_state(encode_state(RAWS)) == RAWS
    assert encode_state(RAWS) == encode_state(dict(reversed(RAWS.items())))


def test_status_and_annotations_are_not_remembered():
    raw = mapping_raw("a", meta={"annotations": {"x": "y"}, "managedFields": []})
    assert essence({**raw, "status": {"conditions": []}}) == RAWS["uid-a"]


@pytest.mark.parametrize(
    "data",
    [{}, {STATE_KEY: "?"}, {STATE_KEY: "AAAA"}, {STATE_KEY: "H4sIAAAAAAAAAwMAAAAAAAAAAAA="}],
)
def test_a_damaged_state_remembers_nothing(data):
    assert decode_state(data) == {}
