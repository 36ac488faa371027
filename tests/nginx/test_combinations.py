"""Whatever the CRDs let people say, in any combination: what is accepted is loaded by nginx.

The values are made from the CRDs' own schemas, so that a new field is covered by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from consul_nginx.commands.nginx_test import Result, try_bundle
from consul_nginx.model.consul import Observation
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.secret_files import SecretFile
from consul_nginx.nginx.render import render
from consul_nginx.plan.load_balancer import bound
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from nginx.support import CHECKOUT, nginx_binary
from unit.factories import instance, metadata, planned

Schema = dict[str, Any]

INSTANCES = (instance(), instance("10.244.1.3", weight=3))
# Templates would have to be there; listeners' names and ports are given to them here.
NOT_LISTENERS = {"name", "port", "template"}
NOT_MAPPINGS = {"loadBalancerRef", "listener", "backends", "redirect", "fixedResponse"}
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


def fields_of(plural: str) -> Schema:
    """Schemas of the fields of ``spec``."""
    crd = yaml.safe_load(Path(CHECKOUT, "crds", f"consul-nginx.dev_{plural}.yaml").read_text())
    [version] = crd["spec"]["versions"]
    fields: Schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return fields


LISTENER = fields_of("loadbalancers")["listeners"]["items"]["properties"]
MAPPING = fields_of("servicemappings")


# What is more than its pattern: hardly any text that fits would be accepted.
TEXTS = {
    "filter": ['Service.Meta.version == "2"', '"v2" in Service.Tags'],
    "address": ["192.0.2.1", "2001:db8::1"],
}


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """What a schema allows, without the rules beside it."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", 0), schema.get("maximum", 1000))
        case "string":
            longest = schema.get("maxLength", 100)
            if "pattern" in schema:
                texts = st.from_regex(schema["pattern"], fullmatch=True, alphabet=PRINTABLE)
                return texts.filter(lambda text: len(text) <= longest)
            return st.text(
                PRINTABLE, min_size=schema.get("minLength", 0), max_size=min(longest, 20)
            )
        case "array":
            return st.lists(
                values(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(schema.get("maxItems", 3), 3),
                unique_by=repr,
            )
        case _:
            return objects(schema)


def objects(schema: Schema) -> st.SearchStrategy[Any]:
    fields = schema.get("properties", {})
    required = set(schema.get("required", ()))
    known = {
        name: st.sampled_from(TEXTS[name]) if name in TEXTS else values(one)
        for name, one in fields.items()
    }
    return st.fixed_dictionaries(
        {name: one for name, one in known.items() if name in required},
        optional={name: one for name, one in known.items() if name not in required},
    )


def some(fields: Schema, *, without: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the fields: of all at once, hardly any would be accepted."""
    names = st.lists(st.sampled_from(sorted(set(fields) - without)), unique=True, max_size=5)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: values(fields[name]) for name in chosen})
    )


TARGETS = st.sampled_from(["backends"] * 4 + ["redirect", "fixedResponse"]).flatmap(
    lambda name: st.fixed_dictionaries({name: values(MAPPING[name])})
)
MAPPINGS = st.builds(
    lambda place, target, more: (place, {**target, **more}),
    st.integers(0, 3),
    TARGETS,
    some(MAPPING, without=NOT_MAPPINGS),
)


def edge(listeners: list[dict[str, Any]]) -> LoadBalancer:
    """A LoadBalancer with a plain listener and those of the others that are accepted."""
    taken: list[dict[str, Any]] = []
    parsed: LoadBalancer | Invalid | None = None
    for number, fields in enumerate([{}, *listeners]):
        one = {**fields, "name": f"listener-{number}", "port": 20_000 + number}
        tried = parse_load_balancer(
            {"metadata": metadata("edge"), "spec": {"listeners": [*taken, one]}}
        )
        if isinstance(tried, LoadBalancer):
            taken, parsed = [*taken, one], tried
    assert isinstance(parsed, LoadBalancer)
    return parsed


def accepted(specs: list[tuple[int, dict[str, Any]]], *, by: LoadBalancer) -> list[ServiceMapping]:
    names = [listener.name for listener in by.listeners]
    parsed = [
        parse_service_mapping(
            {
                "metadata": metadata(f"mapping-{number}"),
                "spec": {
                    "loadBalancerRef": {"name": "edge"},
                    "listener": names[place % len(names)],
                    **spec,
                },
            }
        )
        for number, (place, spec) in enumerate(specs)
    ]
    return [
        bound(mapping=item, load_balancer=by) for item in parsed if isinstance(item, ServiceMapping)
    ]


def no_secret(file: SecretFile) -> bytes:
    raise AssertionError(f"{file.name}: no Secret was given to anybody")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(some(LISTENER, without=NOT_LISTENERS), max_size=3),
    st.lists(MAPPINGS, min_size=1, max_size=6),
)
def test_nginx_loads_any_combination_of_fields_that_is_accepted(
    listeners: list[dict[str, Any]], specs: list[tuple[int, dict[str, Any]]]
):
    by = edge(listeners)
    mappings = accepted(specs, by=by)
    seen = Observation(instances=INSTANCES)
    plan = planned(
        load_balancer=by,
        mappings=mappings,
        snapshot={query: seen for item in mappings for query in item.queries},
    )
    for _, verdict in plan.mappings:
        event(f"a mapping is {verdict.accepted.reason}")
    tested = try_bundle(
        lambda layout: render(configuration=plan.configuration, layout=layout),
        program=nginx_binary(),
        content=no_secret,
    )
    assert tested.result is Result.PASSED, tested.words
