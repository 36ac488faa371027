"""Four hundred services on a Consul that allows two hundred connections."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from cluster.support.consul_api import agent_request
from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.sources import ConsulSources
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ServiceQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.harness.cluster import Cluster

QUERIES = tuple(ServiceQuery(service=f"many-{number}") for number in range(400))


def register(agent: str, service: str, port: int) -> None:
    body = {"ID": service, "Name": service, "Address": "192.0.2.7", "Port": port}
    agent_request(agent, "PUT", "/v1/agent/service/register", body)


@pytest.fixture
def agent(cluster: Cluster) -> Iterator[str]:
    """An agent with all the services."""
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    url = f"http://{nodes[0]['status']['addresses'][0]['address']}:8500"
    for query in QUERIES:
        register(url, query.service, 80)
    yield url
    for query in QUERIES:
        agent_request(url, "PUT", f"/v1/agent/service/deregister/{query.service}")


def port_of(catalog: Catalog, query: ServiceQuery) -> int | None:
    observation = catalog.snapshot().get(query)
    if observation is None or not observation.instances:
        return None
    return observation.instances[0].port


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a test looks on
            await asyncio.sleep(0.05)


async def watch_and_change(agent: str) -> tuple[int, int]:
    """Change services with and without a blocking query; returns watches, and failures seen."""

    async def no_token(*_: str) -> str:
        raise AssertionError("nobody has a Consul of their own")

    async with PooledTransport(address=agent) as transport:
        own = ConsulClient(http=transport)
        sources = ConsulSources(own=own, connect=lambda _: transport, read_token=no_token)
        catalog = Catalog(reader=sources, changed=lambda _: None)
        try:
            catalog.watch_only(QUERIES)
            await until(lambda: all(port_of(catalog, query) == 80 for query in QUERIES))
            for query in (QUERIES[0], QUERIES[-1], QUERIES[-1], QUERIES[200]):
                port = (port_of(catalog, query) or 0) + 1
                await asyncio.to_thread(register, agent, query.service, port)
                await until(lambda q=query, p=port: port_of(catalog, q) == p)  # type: ignore[misc]
            return catalog.watched, catalog.failing
        finally:
            await catalog.close()


def test_each_change_is_seen_and_none_is_refused_for_too_many_connections(agent: str):
    assert asyncio.run(watch_and_change(agent)) == (400, 0)
