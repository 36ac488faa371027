"""What weights from Consul cost in a consistent hash."""

from __future__ import annotations

from consul_nginx.model.mapping import Endpoint
from consul_nginx.model.nginx import Layer
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.upstreams import MAX_HASHED_WEIGHT, upstream
from unit.factories import mapping


def hashed(*weights):
    item = mapping(balancing={"algorithm": "ConsistentHash", "hashKey": {"type": "URI"}})
    endpoints = tuple(
        Endpoint(address=f"10.1.{n // 250}.{n % 250 + 1}", port=80, weight=weight)
        for n, weight in enumerate(weights)
    )
    found = upstream(
        group=item.group,
        layer=Layer.HTTP,
        selections=(EndpointSelection(endpoints=endpoints, total=len(weights)),),
    )
    return [endpoint.weight for endpoint in found.endpoints]


def test_weights_of_a_consistent_hash_are_bounded_in_all_and_keep_their_proportions():
    """A worker makes 160 points of each, before its first answer."""
    assert hashed(65535, 65535) == [MAX_HASHED_WEIGHT // 2] * 2
    assert hashed(30_000, 10_000, 1) == [374, 124, 1]
    assert hashed(7, 1) == [7, 1]
    assert hashed(*[1] * 1000) == [1] * 1000
