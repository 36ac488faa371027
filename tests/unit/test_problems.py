"""What people are told of YAML that is not what the models want."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit import everything
from unit.everything import Path, at, put
from unit.factories import mapping_raw, metadata

WHOLE = {
    "LoadBalancer": (parse_load_balancer, everything.LOAD_BALANCER),
    **{name: (parse_service_mapping, mapping) for name, mapping in everything.MAPPINGS.items()},
}


def words(spec: Any, *, kind: str = "ServiceMapping") -> dict[str, str]:
    """What is said of a specification, by field: value and reason."""
    parse = WHOLE[kind][0] if kind in WHOLE else parse_service_mapping
    found = parse({"metadata": metadata("edge"), "spec": spec})
    assert isinstance(found, Invalid)
    return {problem.field: f"{problem.value}: {problem.reason}" for problem in found.problems}


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        (
            {"match": {"method": ["GET"]}},
            "spec.match.method",
            "['GET']: there is no such field; did you mean methods?",
        ),
        (
            {"match": {"port": 80}},
            "spec.match.port",
            "80: there is no such field; there are: headers, methods, queryParameters",
        ),
        (
            {"match": {"methods": "GET"}},
            "spec.match.methods",
            "'GET': a list is needed, even of one: [a]",
        ),
        (
            {"match": {"headers": [{"name": "X-Beta", "value": True}]}},
            "spec.match.headers[0].value",
            "True: a text is needed; numbers and words such as yes and off need quotes",
        ),
        (
            {"basicAuth": {"secretRef": "admins"}},
            "spec.basicAuth.secretRef",
            "'admins': fields with values are needed here; there are: name",
        ),
        (
            {"mirror": {"percent": 10}},
            "spec.mirror.backends",
            "not given: this field is required",
        ),
        (
            {"hostnames": ["a.example"] * 65},
            "spec.hostnames",
            f"{str(['a.example'] * 65)[:80]}…: at most 64 items possible",
        ),
        ({"mirror": {"backends": []}}, "spec.mirror.backends", "[]: at least 1 item needed"),
    ],
)
def test_a_slip_is_told_with_the_way_out(fields: dict[str, Any], field: str, said: str):
    assert words(mapping_raw(**fields)["spec"]) == {field: said}


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Everything that has parts, below a value and itself."""
    if isinstance(value, dict | list | tuple):
        yield path, value
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in parts:
            yield from places(item, (*path, key))


@pytest.mark.parametrize("name", WHOLE)
def test_no_place_is_too_deep_for_words(name: str):
    """Something else stands in the place of every list and every group of fields."""
    spec = WHOLE[name][1]
    for path, value in places(spec):
        said = " ".join(words(put(spec, path, "text"), kind=name).values())
        if isinstance(value, list | tuple):
            assert "a list is needed" in said, path
        elif value and "fields with values" not in said:
            assert "should be a valid dictionary" in said, path  # a map, as of labels
        else:
            slip = words(put(spec, path, {**at(spec, path), "noSuchField": 1}), kind=name)
            assert any("there is no such field" in text for text in slip.values()), path
