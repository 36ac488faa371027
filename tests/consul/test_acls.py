"""Consul denies what the operator's token doesn't allow: what that costs, and what it doesn't."""

from __future__ import annotations

import uuid

import pytest
from prometheus_client import REGISTRY

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.presence import present
from consul_nginx.consul.synthetic import CatalogRegistrations, node_name
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.registration import Changes


@pytest.fixture
def token(guarded):
    """Makes a token with these rules."""

    def make(rules):
        name = uuid.uuid4().hex
        guarded.ask("acl/policy", {"Name": name, "Rules": rules})
        return guarded.ask("acl/token", {"Policies": [{"Name": name}]})["SecretID"]

    return make


@pytest.fixture
async def guarded_http(guarded):
    async with PooledTransport(address=guarded.url) as http:
        yield http


def enough(cluster):
    """For services that begin with web."""
    writes = '{ policy = "write" }'
    return f'node_prefix "{cluster}_" {writes} service_prefix "web" {writes}'


def api_with(http, secret):
    return Api(http=http, secret_token=secret)


async def test_nodes_of_the_cluster_and_services_are_all_that_the_token_needs(
    guarded_http, token, cluster, place, wanted, registering
):
    secret = token(enough(cluster))
    api = api_with(guarded_http, secret)
    catalog = CatalogRegistrations(cluster=cluster, api=api)
    one, denied = wanted("one"), wanted("two", name="other")
    refused = await catalog.apply(place, registering(one, denied))
    assert refused.keys() == {denied.content.id}
    assert "service:write" in refused[denied.content.id]
    held = await catalog.read(place)
    assert held[one.content.id].content == one.content
    assert await catalog.places() == {place.node}
    assert [*(await present(api=api, cluster=cluster))[1]] == [(one.content.id, "passing")]
    await catalog.apply(place, Changes(remove=(*held.values(),)))
    assert await catalog.tidy(place)


async def test_a_node_that_may_not_be_read_is_no_empty_one(
    guarded_http, token, guarded, cluster, place, wanted, registering
):
    everything = CatalogRegistrations(cluster=cluster, api=api_with(guarded_http, "root"))
    await everything.apply(place, registering(wanted()))
    blind = token('service_prefix "web" { policy = "write" }')
    catalog = CatalogRegistrations(cluster=cluster, api=api_with(guarded_http, blind))
    for attempt in (catalog.read(place), catalog.apply(place, registering(wanted("new")))):
        with pytest.raises(ConsulRefused, match="node:write"):
            await attempt


async def test_a_node_with_services_that_may_not_be_read_is_not_tidied_away(
    guarded_http, token, guarded, cluster, place, wanted, registering
):
    secret = token(enough(cluster))
    catalog = CatalogRegistrations(cluster=cluster, api=api_with(guarded_http, secret))
    await catalog.apply(place, registering(wanted()))
    name = node_name(cluster=cluster, node=place.node)
    theirs = {"Node": name, "SkipNodeUpdate": True, "Service": {"ID": "x", "Service": "theirs"}}
    guarded.ask("catalog/register", theirs)
    held = await catalog.read(place)
    await catalog.apply(place, Changes(remove=(*held.values(),)))
    assert not await catalog.tidy(place)


async def test_an_agent_refuses_one_service_and_takes_the_others(
    guarded, token, cluster, place, wanted, registering
):
    agents = AgentRegistrations(
        cluster=cluster,
        connect=lambda url: PooledTransport(address=url),
        secret_token=token('service_prefix "web" { policy = "write" }'),
        port=guarded.port,
    )
    one, denied = wanted("one"), wanted("two", name="other")
    refused = await agents.apply(place, registering(denied, one))
    assert refused.keys() == {denied.content.id}
    assert "service:write" in refused[denied.content.id]
    assert (await agents.read(place))[one.content.id].content == one.content
    await agents.close()


async def test_a_token_that_consul_does_not_know_is_refused_as_a_whole(
    guarded_http, cluster, place, wanted, registering
):
    catalog = CatalogRegistrations(cluster=cluster, api=api_with(guarded_http, str(uuid.uuid4())))
    with pytest.raises(ConsulRefused, match="ACL not found"):
        await catalog.apply(place, registering(wanted()))


async def test_a_synthetic_node_that_may_not_be_made_is_refused_and_counted(
    guarded_http, token, cluster, place, wanted, registering
):
    secret = token('node_prefix "" { policy = "read" } service_prefix "web" { policy = "write" }')
    catalog = CatalogRegistrations(cluster=cluster, api=api_with(guarded_http, secret))
    before = refused_nodes()
    with pytest.raises(ConsulRefused, match="node:write"):
        await catalog.apply(place, registering(wanted()))
    assert refused_nodes() == before + 1


def refused_nodes():
    labels = {"kind": "node", "result": "refused"}
    return REGISTRY.get_sample_value("consul_nginx_registration_writes_total", labels) or 0
