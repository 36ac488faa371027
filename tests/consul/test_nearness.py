"""Whom a real Consul calls near, and what it does not say."""

from __future__ import annotations

import json
import uuid

import pytest

from consul_nginx.commands.snapshots import parse_snapshot
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ServiceQuery

NODES = {"near-1": 0.04, "near-2": 0.01, "near-4": 0.02, "near-home": 0.0}


@pytest.fixture(scope="module")
def nodes(consul):
    """Four nodes with an instance each, of which Consul knows the places of three, and one more."""
    for number in range(1, 5):
        consul.ask(
            "catalog/register",
            {
                "Node": f"near-{number}", "Address": f"10.0.0.{number}",
                "Service": {"ID": f"n-{number}", "Service": "nearby", "Port": 80},
            },
        )  # fmt: skip
    consul.ask("catalog/register", {"Node": "near-home", "Address": "10.0.0.9"})
    consul.locate(NODES)
    yield
    for node in (*NODES, "near-3"):
        consul.ask("catalog/deregister", {"Node": node})


async def ask(consul, near, *, token=None, **more):
    async with PooledTransport(address=consul.url) as http:
        return await ConsulClient(http=http, secret_token=token).service(
            query=ServiceQuery(service="nearby", near=near), **more
        )


def ids(answer):
    return [item.id for item in answer.instances]


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.parametrize(
    ("node", "expected"),
    [("near-home", ["n-2", "n-4", "n-1", "n-3"]), ("near-1", ["n-1", "n-4", "n-2", "n-3"])],
)
async def test_instances_are_sorted_by_distance_and_those_without_a_place_are_last(
    consul, nodes, node, expected, consistent
):
    answer = await ask(consul, node, consistent=consistent)
    assert (answer.nearest_first, ids(answer)) == (True, expected)


@pytest.mark.parametrize("node", ["near-3", "nobody", "_ip"])
async def test_a_node_without_a_place_sorts_nothing_and_is_noticed(consul, nodes, node):
    unsorted = consul.ask("health/service/nearby")
    assert consul.ask(f"health/service/nearby?near={node}") == unsorted
    answer = await ask(consul, node)
    assert (answer.nearest_first, ids(answer)) == (False, ["n-1", "n-2", "n-3", "n-4"])


async def test_a_snapshot_has_the_nearest_first(consul, nodes):
    entries = consul.ask("health/service/nearby?near=near-home")
    recorded = parse_snapshot(
        json.dumps({"datacenters": {"dc1": {"services": {"nearby": entries}}}})
    )
    observed = recorded.observe(ServiceQuery(service="nearby", near="near-home"))
    assert observed.nearest_first
    assert observed.instances == (await ask(consul, "near-home")).instances


async def test_a_node_that_the_token_may_not_read_has_no_place(guarded):
    service = {"Service": "nearby", "Port": 80}
    guarded.ask("catalog/register", {"Node": "seen", "Address": "10.0.0.1", "Service": service})
    guarded.ask("catalog/register", {"Node": "hidden", "Address": "10.0.0.2"})
    guarded.locate({"hidden": 0.1})

    async def answered(nodes):
        rules = f'service_prefix "" {{ policy = "read" }} {nodes} {{ policy = "read" }}'
        name = uuid.uuid4().hex
        guarded.ask("acl/policy", {"Name": name, "Rules": rules})
        token = guarded.ask("acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        answer = await ask(guarded, "hidden", token=token)
        return answer.nearest_first, ids(answer)

    assert await answered('node "seen"') == (False, ["nearby"])
    assert await answered('node_prefix ""') == (True, ["nearby"])


async def test_where_coordinates_are_disabled_nobody_is_near(without_coordinates):
    without_coordinates.ask("agent/service/register", {"Name": "nearby", "Port": 80})
    answer = await ask(without_coordinates, "nobody")
    assert (answer.nearest_first, ids(answer)) == (False, ["nearby"])
