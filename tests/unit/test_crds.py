"""What `kubectl explain` says, and words that YAML would read as something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from consul_nginx.resources.crds import manifests
from unit.refusals import REFUSALS

# Kubernetes says itself what these are.
OF_EVERY_OBJECT = {".apiVersion", ".kind", ".metadata"}
SCHEMAS = {
    name: yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name, text in manifests().items()
}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], f"{path}{mark}")


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_field_is_explained_in_a_sentence(schema):
    unexplained = [
        path
        for path, node in nodes(schema)
        if path not in OF_EVERY_OBJECT
        and not path.endswith(("[]", "{}"))
        and not node.get("description", "").endswith((".", "?"))
    ]
    assert unexplained == []


def is_another_thing_in_yaml(word: str) -> bool:
    """YAML 1.1, which kubectl reads: yes, no, on, off, y and n are truths, and so on."""
    return word in ("y", "n") or not isinstance(yaml.safe_load(word), str)


@pytest.mark.parametrize("word", ["on", "No", "yes", "y", "null", "1", "1:30", "~"])
def test_what_yaml_reads_as_something_else(word):
    assert is_another_thing_in_yaml(word)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_no_name_and_no_value_is_something_else_in_yaml(schema):
    words = {
        word
        for path, node in nodes(schema)
        for word in (
            path.rpartition(".")[2].rstrip("[]{}"),
            *(value for value in node.get("enum", ()) if isinstance(value, str)),
        )
        if word
    }
    # Values of status are written by programs.
    assert {word for word in words if is_another_thing_in_yaml(word)} <= {"True", "False"}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_rule_has_somebody_who_breaks_it(schema):
    """But for names of objects (tests/cluster/test_bad_input.py), and once for all durations."""
    rules = [
        rule["message"]
        for path, node in nodes(schema)
        for rule in node.get("x-kubernetes-validations", ())
        if path and not rule["rule"].startswith("duration(self) >= ")
    ]
    assert rules
    broken = [refusal.words for refusal in REFUSALS]
    assert [text for text in rules if not any(words in text for words in broken)] == []
