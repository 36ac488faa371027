"""The transport and what is read out of Consul's answers; against a real HTTP server."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from consul.base import CB

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.health import aggregate, parse_instances
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import NO_POD, Health, PodMark, ServiceQuery


@pytest.fixture
async def server():
    """An HTTP server that answers what the test says, and remembers what it was asked."""
    state = {
        "status": 200,
        "statuses": {},
        "body": "[]",
        "headers": {"X-Consul-Index": "7"},
        "asked": [],
    }

    async def answer(request):
        state["asked"].append(request)
        status = state["statuses"].get(request.path, state["status"])
        return web.Response(status=status, text=state["body"], headers=state["headers"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


@pytest.mark.parametrize("name", ["../../kv/secret", "a/b", "..", ".", "", "a\nb"])
async def test_a_name_can_not_become_another_path(server, name):
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(ConsulRefused, match="unsafe name"):
            await ConsulClient(http=transport).service(query=ServiceQuery(service=name))
    assert server["asked"] == []


async def test_all_tags_and_the_datacenter_are_asked_for(server):
    async with PooledTransport(address=server["url"]) as transport:
        query = ServiceQuery(service="web", tags=("a", "b=c&d"), datacenter="dc2")
        await ConsulClient(http=transport).service(query=query, index=7)
    asked = server["asked"][0].query
    assert asked.getall("tag") == ["a", "b=c&d"]
    assert (asked["dc"], asked["index"]) == ("dc2", "7")


@pytest.mark.parametrize(("located", "order"), [(200, ["b", "a"]), (404, ["a", "b"])])
async def test_whether_the_node_has_a_place_is_asked_first_and_all_of_it_every_minute(
    server, located, order
):
    def entry(name):
        service = {"ID": name, "Address": "10.0.0.1", "Port": 80}
        return {"Node": {"Node": name}, "Service": service, "Checks": []}

    server["body"] = json.dumps([entry("b"), entry("a")])
    server["statuses"] = {"/v1/coordinate/node/home": located}
    async with PooledTransport(address=server["url"]) as transport:
        query = ServiceQuery(service="web", near="home", datacenter="dc2")
        answer = await ConsulClient(http=transport).service(query=query, index=7)
    assert [item.id for item in answer.instances] == order
    assert answer.nearest_first is (located == 200)
    place, question = server["asked"]
    assert (place.path, dict(place.query)) == ("/v1/coordinate/node/home", {"dc": "dc2"})
    assert question.path == "/v1/health/service/web"
    assert dict(question.query) == {"near": "home", "dc": "dc2", "index": "7", "wait": "60s"}


@pytest.mark.parametrize("index", [0, 7])
async def test_ordinary_reads_are_the_leaders_and_never_a_streams(server, index):
    async with PooledTransport(address=server["url"]) as transport:
        await ConsulClient(http=transport).service(query=ServiceQuery(service="web"), index=index)
    asked = server["asked"][0].query
    assert (asked["near"], "stale" in asked) == ("_agent", False)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ConsulUnavailable), (500, ConsulUnavailable), (503, ConsulUnavailable),
     (400, ConsulRefused), (403, ConsulRefused)],
)  # fmt: skip
async def test_states_are_tried_again_and_refusals_are_not(server, status, error):
    server.update(status=status, body="no")
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(error, match=f"HTTP {status}"):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


async def test_a_filter_that_consul_cannot_read_is_a_refusal_though_its_status_is_500(server):
    words = "Failed to create boolean expression evaluator: 1:1 (0): no match found"
    server.update(status=500, body=f"rpc error making call: {words}")
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(ConsulRefused, match=r"HTTP 500 filter: 1:1 \(0\): no match found"):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


@pytest.mark.parametrize(
    "body",
    ["<html>", '{"a": 1}x', "", "null", '{"error": "x"}', "[1]", '[{"Node": {}}]', "[" * 10_000],
)
async def test_an_answer_that_is_not_consuls_is_tried_again(server, body):
    server.update(body=body)
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(ConsulUnavailable):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


async def test_a_proxys_404_is_not_an_empty_service(server):
    server.update(status=404, body="404 page not found", headers={})
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(ConsulUnavailable, match="HTTP 404"):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


async def test_a_token_that_may_not_read_is_not_an_empty_service(server):
    server["headers"]["X-Consul-Results-Filtered-By-ACLs"] = "true"
    async with PooledTransport(address=server["url"]) as transport:
        with pytest.raises(ConsulRefused, match="service:read"):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


async def test_nobody_there_is_unavailable():
    async with PooledTransport(address="http://127.0.0.1:1") as transport:
        with pytest.raises(ConsulUnavailable):
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))


async def test_the_environment_does_not_override_the_address(server, monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://127.0.0.1:1")
    async with PooledTransport(address=server["url"]) as transport:
        answer = await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))
    assert (answer.index, answer.instances) == (7, ())


async def test_the_token_is_sent(server):
    async with PooledTransport(address=server["url"]) as transport:
        client = ConsulClient(http=transport, secret_token="secret")
        await client.service(query=ServiceQuery(service="web"))
    assert server["asked"][0].headers["X-Consul-Token"] == "secret"


@pytest.mark.parametrize(
    ("states", "health"),
    [
        ([], Health.PASSING),
        (["passing", "passing"], Health.PASSING),
        (["passing", "warning"], Health.WARNING),
        (["warning", "critical"], Health.CRITICAL),
        (["passing", "of unknown kind"], Health.CRITICAL),
    ],
)
def test_the_worst_check_decides(states, health):
    assert aggregate({"CheckID": f"c{n}", "Status": s} for n, s in enumerate(states)) is health


@pytest.mark.parametrize("check", ["_node_maintenance", "_service_maintenance:web-1"])
def test_maintenance_is_the_worst(check):
    checks = [{"CheckID": check, "Status": "critical"}, {"CheckID": "x", "Status": "passing"}]
    assert aggregate(checks) is Health.MAINTENANCE


def test_an_instance_without_address_has_its_nodes():
    entry = {
        "Node": {"Node": "n1", "Address": "10.0.0.7"},
        "Service": {"ID": "a", "Address": "", "Port": 80, "Weights": {"Passing": 5, "Warning": 1}},
        "Checks": [],
    }
    [found] = parse_instances([entry])
    assert (found.address, found.port, found.weight) == ("10.0.0.7", 80, 5)


MARKS = {
    "consul_nginx_cluster": "prod-1",
    "consul_nginx_namespace": "shop",
    "consul_nginx_pod_uid": "6f1e",
}


def read_with(meta):
    service = {"ID": "web", "Address": "10.0.0.1", "Port": 80, "Meta": meta}
    [found] = parse_instances([{"Node": {"Node": "n"}, "Service": service, "Checks": []}])
    return found


def test_the_pod_that_a_registration_names_is_read():
    found = read_with({**MARKS, "consul_nginx_pod": "web-1", "version": "2"})
    assert found.pod == PodMark(cluster="prod-1", namespace="shop", uid="6f1e")


@pytest.mark.parametrize(
    "meta",
    [None, [], "x", {}, {"version": "2"}, {**MARKS, "consul_nginx_pod_uid": ""}]
    + [{**MARKS, key: value} for key in MARKS for value in (None, 7, ["x"])],
)
def test_what_names_no_pod_is_an_instance_all_the_same(meta):
    found = read_with(meta)
    assert (found.pod, found.health) == (NO_POD, Health.PASSING)


@pytest.mark.parametrize("method", ["put", "post", "delete"])
async def test_endpoint_methods_can_write(server, method):
    async with PooledTransport(address=server["url"]) as transport:
        send = getattr(transport, method)
        assert await send(CB.bool(), path="/v1/kv/a", data="b", params=[("cas", "0")])
    [asked] = server["asked"]
    assert (asked.method, asked.path, asked.query["cas"]) == (method.upper(), "/v1/kv/a", "0")
