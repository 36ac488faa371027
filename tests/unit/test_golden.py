"""One folder per feature: manifests and Consul's answers in, the files that nginx reads out.

``pytest tests/unit/test_golden.py --update-golden`` writes what is rendered now.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from consul_nginx.consul.health import parse_instances
from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.nginx.render import render
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import planned

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))


def stored(raw, position):
    metadata = {"uid": f"uid-{position}", "creationTimestamp": "2026-11-22T07:00:00Z"}
    return {**raw, "metadata": {**metadata, **raw["metadata"]}}


def files_of(folder):
    raws = [
        stored(raw, position)
        for position, raw in enumerate(yaml.safe_load_all((folder / "manifest.yaml").read_text()))
    ]
    [load_balancer] = [parse_load_balancer(raw) for raw in raws if raw["kind"] == "LoadBalancer"]
    mappings = [parse_service_mapping(raw) for raw in raws if raw["kind"] == "ServiceMapping"]
    assert isinstance(load_balancer, LoadBalancer), load_balancer
    assert all(isinstance(item, ServiceMapping) for item in mappings), mappings
    consul = json.loads((folder / "consul.json").read_text())
    plan = planned(
        load_balancer=load_balancer,
        mappings=mappings,
        snapshot={
            ServiceQuery(service=name): Observation(instances=parse_instances(entries))
            for name, entries in consul["datacenters"]["dc1"]["services"].items()
        },
    )
    assert all(verdict.accepted.is_true for _, verdict in plan.mappings)
    return dict(render(configuration=plan.configuration, layout=Layout()).files)


@pytest.mark.parametrize("case", CASES)
def test_manifests_and_consul_give_exactly_these_files(case, request):
    files, expected = files_of(GOLDEN / case), GOLDEN / case / "nginx"
    if request.config.getoption("--update-golden"):
        expected.mkdir(exist_ok=True)
        for path in expected.iterdir():
            path.unlink()
        for name, text in files.items():
            (expected / name).write_text(text)
    assert {path.name: path.read_text() for path in expected.iterdir()} == files
