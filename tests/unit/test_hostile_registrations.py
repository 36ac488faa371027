"""Whatever answers in Consul's place, nothing crashes and nothing is taken for a registration."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiohttp import web

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.presence import present
from consul_nginx.consul.synthetic import CatalogRegistrations
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.registration import (
    Change,
    Changes,
    Content,
    Held,
    Owner,
    Place,
    Registration,
)

PLACE = Place(node="worker-1", ip="127.0.0.1")
OWNER = Owner(cluster="prod", namespace="shop", pod="a", pod_uid="1")
CONTENT = Content(id="a", name="web", address="10.0.0.1", port=80, tags=(), meta=OWNER.marks())
WANTED = Registration(content=CONTENT, owner=OWNER, check=None, ready=True, created="")
HELD = Held(content=CONTENT, owner=OWNER, ready=True, version=3, ready_version=3)
CHANGES = (
    Changes(register=(Change(before=None, after=WANTED),)),
    Changes(readiness=(Change(before=HELD, after=replace(WANTED, ready=False)),)),
    Changes(remove=(HELD,)),
)
NOT_JSON = ("<html>", "", '{"a": 1}x', "[" * 10_000, "NaN1")
OTHER_SHAPES = ("3", '"x"', "true", "[1]", '[{"Node": 3}]', '{"a": 3}', '{"a": {"ID": 3}}')


@pytest.fixture
async def server():
    """Answers the same to everything, and remembers the paths."""
    state = {"status": 200, "body": "null", "headers": {"X-Consul-Index": "7"}, "paths": []}

    async def answer(request):
        state["paths"].append(request.raw_path.partition("?")[0])
        return web.Response(status=state["status"], text=state["body"], headers=state["headers"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    state["port"] = runner.addresses[0][1]
    yield state
    await runner.cleanup()


@pytest.fixture
async def api(server):
    async with PooledTransport(address=f"http://127.0.0.1:{server['port']}") as http:
        yield Api(http=http)


@pytest.fixture
async def agents(server):
    found = AgentRegistrations(
        cluster="prod", connect=lambda url: PooledTransport(address=url), port=server["port"]
    )
    yield found
    await found.close()


@pytest.fixture
def catalog(api):
    return CatalogRegistrations(cluster="prod", api=api)


@pytest.mark.parametrize("body", [*NOT_JSON, *OTHER_SHAPES])
async def test_what_is_no_answer_is_no_registration(server, api, agents, catalog, body):
    server["body"] = body
    for attempt in (agents.read(PLACE), catalog.places(), present(api=api, cluster="prod")):
        with pytest.raises(ConsulUnavailable):
            await attempt


@pytest.mark.parametrize(
    "service",
    [3, {}, {"ID": 3}, {"ID": "a"}, {"ID": "a", "Service": "w", "Tags": [3]},
     {"ID": "a", "Service": "w", "Meta": {"a": 3}}, {"ID": "a", "Service": "w", "Port": True},
     {"ID": "a", "Service": "w", "Weights": []}, {"ID": "a", "Service": "w", "Meta": []}],
)  # fmt: skip
async def test_a_registration_with_wrong_fields_is_no_answer(server, catalog, service):
    server["body"] = json.dumps({"Node": {"Node": "x", "ModifyIndex": 1}, "Services": [service]})
    with pytest.raises(ConsulUnavailable):
        await catalog.read(PLACE)


@pytest.mark.parametrize("body", [*NOT_JSON, *OTHER_SHAPES, "null"])
@pytest.mark.parametrize("changes", CHANGES)
async def test_a_write_without_an_answer_of_consuls_counts_as_unknown(
    server, catalog, body, changes
):
    server.update(body=body, status=409)
    with pytest.raises(ConsulUnavailable):
        await catalog.apply(PLACE, changes)


@pytest.mark.parametrize(
    "errors",
    [None, "x", [], [{}], [{"OpIndex": 0}], [{"OpIndex": 7, "What": "x"}],
     [{"OpIndex": -1, "What": "x"}]],
)  # fmt: skip
async def test_a_transaction_that_blames_nothing_ends(api, errors, monkeypatch):
    async def put(self, path, **_):
        return SimpleNamespace(code=409, body=json.dumps({"Errors": errors}))

    async def get(self, path, **_):
        return SimpleNamespace(found={"Node": None, "Services": None}, filtered=False)

    monkeypatch.setattr(Api, "put", put)
    monkeypatch.setattr(Api, "get", get)
    with pytest.raises(ConsulUnavailable):
        await CatalogRegistrations(cluster="prod", api=api).apply(PLACE, CHANGES[0])


@pytest.mark.parametrize("status", [204, 307, 404, 409])
@pytest.mark.parametrize("changes", CHANGES)
async def test_an_agent_that_answers_as_no_agent_does_has_taken_nothing(
    server, agents, status, changes
):
    server.update(status=status, body="")
    with pytest.raises(ConsulUnavailable):
        await agents.apply(PLACE, changes)


@pytest.mark.parametrize("name", ["../../kv/x", "a/b", "", 'x" or "" == "', "a\nb", "a\x00"])
async def test_names_become_no_other_path_and_no_other_filter(server, api, agents, name):
    server["body"] = "[]"
    catalog = CatalogRegistrations(cluster=name, api=api)
    with pytest.raises(ConsulRefused, match="unsafe name"):
        await catalog.places()
    with pytest.raises(ConsulRefused, match="unsafe name"):
        await present(api=api, cluster=name)
    held = replace(HELD, content=replace(CONTENT, id=f"{name}\x00"))
    assert "unsafe name" in str(await agents.apply(PLACE, Changes(remove=(held,))))
    assert server["paths"] == []


async def test_an_id_is_one_segment_of_the_path_whatever_is_in_it(server, agents):
    server.update(status=404, body="unknown service ID: x")
    held = replace(HELD, content=replace(CONTENT, id="c:ns/../../kv/secret?x=%2F#y"))
    await agents.apply(PLACE, Changes(remove=(held,)))
    assert server["paths"] == ["/v1/agent/service/c%3Ans%2F..%2F..%2Fkv%2Fsecret%3Fx%3D%252F%23y"]


async def test_an_index_that_goes_back_starts_from_0(server, api):
    server["body"] = "[]"
    assert (await present(api=api, cluster="prod", index=6))[0] == 7
    assert (await present(api=api, cluster="prod", index=8))[0] == 0
