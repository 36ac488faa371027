"""Every field of the custom resources has a golden folder, and a test that sees its effect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consul_nginx.resources.crds import KINDS, object_schema
from unit.features import NAMES, manifests

TESTS = Path(__file__).parents[1]

# What can't be in a golden folder: the tests that see it work.
ELSEWHERE = {
    "LoadBalancer.paused": "cluster/test_hand_edits.py::"
    "test_while_paused_hand_edits_stay_and_changes_wait",
    # A snapshot has one Consul: there is no other to ask in a golden folder.
    "LoadBalancer.consul.address": "cluster/permitted/test_tenancy.py::"
    "test_each_consul_gets_the_token_that_is_meant_for_it_and_no_other",
    "LoadBalancer.consul.tokenSecretRef.name": "cluster/permitted/test_tenancy.py::"
    "test_each_consul_gets_the_token_that_is_meant_for_it_and_no_other",
    "LoadBalancer.consul.tokenSecretRef.key": "cluster/permitted/test_tenancy.py::"
    "test_each_consul_gets_the_token_that_is_meant_for_it_and_no_other",
    # Of Consul Enterprise, which no test has: they get to Consul, which refuses them in words.
    **{
        f"ServiceMapping.{backends}.{field}": "consul/test_queries.py::"
        "test_what_only_enterprise_has_is_refused_in_words"
        for backends in ("backends", "mirror.backends", "externalAuth.backends")
        for field in ("namespace", "partition")
    },
}


def leaves(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Names of all fields that hold a value; a list's or a map's stand for the whole of it."""
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, f"{path}.{name}")
    elif "properties" in schema.get("items", {}):
        yield from leaves(schema["items"], path)
    else:
        yield path


def used(value: Any, path: str) -> Iterator[str]:
    """Names of the fields that a manifest sets, and of those above them."""
    yield path
    if isinstance(value, dict):
        for name, child in value.items():
            yield from used(child, f"{path}.{name}")
    elif isinstance(value, list):
        for child in value:
            yield from used(child, path)


def function(place: str) -> str:
    """Source of ``file::function``."""
    file, _, name = place.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    [found] = [node for node in ast.walk(ast.parse(text)) if getattr(node, "name", "") == name]
    return ast.get_source_segment(text, found) or ""


FIELDS = sorted(
    leaf for kind in KINDS for leaf in leaves(object_schema(kind)["properties"]["spec"], kind.kind)
)
IN_GOLDEN = {
    field
    for name in NAMES
    for raw in manifests(name)
    for field in used(raw.get("spec", {}), raw["kind"])
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_a_golden_folder_or_is_named_in_a_test_elsewhere(field: str):
    if field in ELSEWHERE:
        assert field.rpartition(".")[2] in function(ELSEWHERE[field])
    else:
        assert field in IN_GOLDEN


def test_what_is_tested_elsewhere_is_a_field_without_a_golden_folder():
    assert ELSEWHERE.keys() <= set(FIELDS)
    assert not IN_GOLDEN & ELSEWHERE.keys()


def test_every_golden_folder_has_traffic():
    """In real nginx, or in a cluster where it is about pods."""
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("nginx", "cluster")
        for path in (TESTS / folder).glob("test_*.py")
    ]
    loaded = {name for text in texts for name in re.findall(r'\bfeature\(\s*"([a-z0-9-]+)"', text)}
    assert set(NAMES) == loaded
