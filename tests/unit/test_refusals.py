"""What the API server refuses (tests/cluster/test_refusals.py), Python refuses again."""

from __future__ import annotations

import pytest

from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import metadata
from unit.refusals import REFUSALS

PARSERS = {"LoadBalancer": parse_load_balancer, "ServiceMapping": parse_service_mapping}


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_python_refuses_what_the_api_server_refuses_in_the_same_place(refusal):
    raw = {"metadata": metadata("bad"), "spec": refusal.complete}
    parsed = PARSERS[refusal.kind](raw)
    assert isinstance(parsed, Invalid)
    assert all(problem.field.startswith(refusal.field) for problem in parsed.problems)
    told_by_schema = ("should ", "Unsupported value", "field not declared")
    if not refusal.words.startswith(told_by_schema):
        [problem] = parsed.problems
        assert refusal.words in problem.reason
