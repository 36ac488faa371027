"""What templates ask, answered by a real Consul: values, changes, and what a token may not read."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.facts import FactWatches
from consul_nginx.consul.sources import ConsulSources
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import Health
from consul_nginx.model.facts import (
    DatacentersQuery,
    Entry,
    InstancesQuery,
    KeyQuery,
    NamedService,
    NodesQuery,
    Pair,
    ServicesQuery,
    TreeQuery,
)


def sources(http, token=None):
    async def no_token(*_):
        raise AssertionError("no Secret is named")

    return ConsulSources(
        own=ConsulClient(http=http, secret_token=token),
        connect=lambda url: PooledTransport(address=url),
        read_token=no_token,
    )


@pytest.fixture
async def http(consul):
    async with PooledTransport(address=consul.url) as found:
        yield found


@pytest.fixture
async def watches(http):
    made = FactWatches(reader=sources(http), changed=lambda _: None, max_blocking=3, poll=0.05)
    yield made
    await made.close()


@pytest.fixture
def folder(consul):
    """A folder of the KV store of the test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}/"
    yield name
    consul.ask(f"kv/{name}?recurse", method="DELETE")


def put(consul, path, text):
    consul.ask(f"kv/{path}", text)


def pair(consul, path, text):
    """As JSON: that is how the test's Consul sends it."""
    put(consul, path, text)
    return Pair(key=path, value=f'"{text}"')


async def until(condition):
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - a test looks on
            await asyncio.sleep(0.01)


async def test_a_key_comes_changes_and_goes(consul, watches, folder):
    key = KeyQuery(key=f"{folder}a b?#%/ü")
    watches.watch_only({key})
    await watches.heard({key}, patience=10)
    assert watches.facts()[key].value == ()
    path = f"{folder}a%20b%3F%23%25/%C3%BC"
    for text in ("one", "two"):
        put(consul, path, text)
        wanted = (Pair(key=key.key, value=f'"{text}"'),)
        await until(lambda w=wanted: watches.facts()[key].value == w)
    consul.ask(f"kv/{path}", method="DELETE")
    await until(lambda: watches.facts()[key].value == ())


async def test_a_folder_has_its_keys_and_no_others(consul, watches, folder):
    tree = TreeQuery(prefix=folder)
    wanted = tuple(pair(consul, f"{folder}{name}", name) for name in ("a", "b/c"))
    put(consul, f"{folder.rstrip('/')}x/a", "another folder's")
    watches.watch_only({tree})
    await until(lambda: tree in watches.facts() and watches.facts()[tree].value == wanted)
    more = pair(consul, f"{folder}d", "d")
    await until(lambda: watches.facts()[tree].value == (*wanted, more))
    consul.ask(f"kv/{folder.rstrip('/')}x/a", method="DELETE")


async def test_instances_come_with_all_that_is_known_of_them(consul, watches):
    service = {
        "ID": "facts-1", "Name": "facts", "Address": "10.1.1.1", "Port": 80, "Tags": ["b", "a"],
        "Meta": {"owner": "shop"}, "Weights": {"Passing": 7, "Warning": 2},
    }  # fmt: skip
    consul.ask("agent/service/register", service)
    consul.ask("agent/service/register", {"ID": "facts-2", "Name": "facts", "Port": 81})
    asked = InstancesQuery(service="facts"), InstancesQuery(service="facts", tags=("a", "b"))
    watches.watch_only(asked)
    await watches.heard(asked, patience=10)
    one, two = watches.facts()[asked[0]].value
    assert watches.facts()[asked[1]].value == (one,)
    assert one == Entry(
        node=one.node, id="facts-1", name="facts", address="10.1.1.1", port=80, tags=("b", "a"),
        meta=(("owner", "shop"),), health=Health.PASSING, weight=7,
    )  # fmt: skip
    assert two.address == one.node.address == "127.0.0.1"
    consul.ask("agent/service/register", {**service, "Meta": {"owner": "blog"}})
    await until(lambda: watches.facts()[asked[0]].value[0].meta == (("owner", "blog"),))
    for name in ("facts-1", "facts-2"):
        consul.ask(f"agent/service/deregister/{name}", method="PUT")
    await until(lambda: watches.facts()[asked[0]].value == ())


async def test_names_of_services_nodes_and_datacenters(consul, watches):
    asked = ServicesQuery(), NodesQuery(), DatacentersQuery()
    watches.watch_only(asked)
    await watches.heard(asked, patience=10)
    services, nodes, datacenters = (watches.facts()[one].value for one in asked)
    assert NamedService(name="consul") in services
    assert "127.0.0.1" in [node.address for node in nodes], "beside those of other tests"
    assert datacenters == ("dc1",)
    consul.ask("agent/service/register", {"Name": "named", "Tags": ["b", "a"]})
    wanted = NamedService(name="named", tags=("a", "b"))
    await until(lambda: wanted in watches.facts()[asked[0]].value)
    consul.ask("agent/service/deregister/named", method="PUT")


async def test_more_questions_than_connections_are_all_answered_and_followed(
    consul, watches, folder
):
    keys = [KeyQuery(key=f"{folder}{number}") for number in range(12)]
    watches.watch_only(keys)
    await watches.heard(keys, patience=10)
    for key in keys:
        put(consul, key.key, "x")
    await until(lambda: all(watches.facts()[key].value for key in keys))
    watches.watch_only(keys[-1:])
    assert watches.watched == 1
    assert [*watches.facts()] == keys[-1:]


async def test_what_a_token_may_not_read_never_looks_absent(guarded, folder):
    put(guarded, f"{folder}a", "secret")
    rules = 'service_prefix "" { policy = "read" }'
    guarded.ask("acl/policy", {"Name": "no-keys", "Rules": rules})
    token = guarded.ask("acl/token", {"Policies": [{"Name": "no-keys"}]})["SecretID"]
    asked = (
        KeyQuery(key=f"{folder}a"), TreeQuery(prefix=folder), NodesQuery(), KeyQuery(key="none")
    )  # fmt: skip
    async with PooledTransport(address=guarded.url) as http:
        watches = FactWatches(reader=sources(http, token), changed=lambda _: None)
        watches.watch_only(asked)
        await watches.heard(asked, patience=10)
        for question in asked:
            fact = watches.facts()[question]
            assert fact.value is None, question
            assert fact.error is not None
            assert "403" in fact.error or "the ACL token may not read it" in fact.error
        assert watches.failing == len(asked)
        await watches.close()


async def test_a_datacenter_that_is_not_there_is_told(watches):
    asked = KeyQuery(key="a", datacenter="dc9")
    watches.watch_only({asked})
    await until(lambda: asked in watches.facts())
    assert "No path to datacenter" in (watches.facts()[asked].error or "")
