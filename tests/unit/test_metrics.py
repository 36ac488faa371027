"""What Prometheus is told: counted where it happens, and every metric explained."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from consul_nginx import metrics
from consul_nginx.agent.metrics import Metrics as AgentMetrics
from consul_nginx.agent.state import State
from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulError, ConsulUnavailable
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.consul.watch import Watch
from consul_nginx.kube.metering import trace_config
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.resources import Resources
from consul_nginx.model.consul import ServiceQuery
from unit.factories import load_balancer_raw, mapping_raw


def value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


@asynccontextmanager
async def serving(answer):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_queue_tells_how_long_keys_wait_and_how_long_the_work_takes():
    clock = Clock()
    queue = WorkQueue(name="timed", clock=clock)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert value("workqueue_adds_total", name="timed") == 2
    assert value("workqueue_depth", name="timed") == 2
    clock.now += 3
    first, second = await queue.get(), await queue.get()
    assert value("workqueue_queue_duration_seconds_sum", name="timed") == 6
    clock.now += 5
    queue.done(first)
    clock.now += 2
    assert value("workqueue_work_duration_seconds_sum", name="timed") == 5
    assert value("workqueue_unfinished_work_seconds", name="timed") == 7
    assert value("workqueue_longest_running_processor_seconds", name="timed") == 7
    queue.retry(second)
    assert value("workqueue_retries_total", name="timed") == 1
    assert value("workqueue_unfinished_work_seconds", name="timed") == 0
    assert value("workqueue_longest_running_processor_seconds", name="timed") == 0
    queue.close()


async def test_a_key_that_was_added_while_it_was_worked_on_waits_from_then_on():
    clock = Clock()
    queue = WorkQueue(name="again", clock=clock)
    queue.add("a")
    key = await queue.get()
    clock.now += 1
    queue.add("a")
    clock.now += 4
    queue.done(key)
    await queue.get()
    assert value("workqueue_queue_duration_seconds_sum", name="again") == 4
    assert value("workqueue_work_duration_seconds_sum", name="again") == 5


async def test_requests_to_the_api_server_are_counted_by_code_and_method():
    async def answer(_request):
        return web.Response(status=418)

    before = value("rest_client_requests_total", code="418", method="GET")
    timed = value("rest_client_request_duration_seconds_count", verb="GET")
    async with serving(answer) as url, aiohttp.ClientSession(trace_configs=[trace_config()]) as s:
        await s.get(url)
    assert value("rest_client_requests_total", code="418", method="GET") == before + 1
    assert value("rest_client_request_duration_seconds_count", verb="GET") == timed + 1


async def test_a_request_without_an_answer_has_no_text_of_an_error_as_its_label():
    before = value("rest_client_requests_total", code="<error>", method="PUT")
    async with aiohttp.ClientSession(trace_configs=[trace_config()]) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.put("http://127.0.0.1:1")
    assert value("rest_client_requests_total", code="<error>", method="PUT") == before + 1


async def test_requests_to_consul_are_counted_apart_when_they_block():
    async def answer(request):
        if request.path.endswith("refused"):
            return web.Response(status=403)
        return web.Response(text="[]", headers={"X-Consul-Index": "7"})

    def counted() -> dict[tuple[str, str], float]:
        return {
            (mode, outcome): value(
                "consul_nginx_consul_requests_total",
                endpoint="health",
                mode=mode,
                outcome=outcome,
            )
            for mode in ("immediate", "blocking")
            for outcome in ("success", "refused")
        }

    timed = value("consul_nginx_consul_request_duration_seconds_count", endpoint="health")
    before = counted()
    async with serving(answer) as url, PooledTransport(address=url) as transport:
        client = ConsulClient(http=transport)
        await client.service(query=ServiceQuery(service="web"))
        await client.service(query=ServiceQuery(service="web"), index=7)
        await client.service(query=ServiceQuery(service="web"), index=7)
        with pytest.raises(ConsulError):
            await client.service(query=ServiceQuery(service="refused"))
    after = counted()
    assert {key: after[key] - before[key] for key in after} == {
        ("immediate", "success"): 1,
        ("blocking", "success"): 2,
        ("immediate", "refused"): 1,
        ("blocking", "refused"): 0,
    }
    assert (
        value("consul_nginx_consul_request_duration_seconds_count", endpoint="health") == timed + 1
    )


async def test_data_is_as_old_as_consuls_latest_answer():
    clock = Clock()
    asked = asyncio.Event()

    class Reader:
        async def service(self, *, query, index=0, consistent=False):
            asked.set()
            clock.now += 5
            raise ConsulUnavailable("no leader")

    async def sleep(_seconds):
        await asyncio.Event().wait()

    watch = Watch(
        query=ServiceQuery(service="web"),
        reader=Reader(),
        publish=lambda *_: None,
        failed=lambda *_: None,
        sleep=sleep,
        clock=clock,
    )
    clock.now += 1
    task = asyncio.create_task(watch.run())
    await asked.wait()
    assert watch.age == 6
    task.cancel()


async def test_the_catalog_is_as_old_as_its_oldest_watch():
    class Reader:
        async def service(self, *, query, index=0, consistent=False):
            raise ConsulUnavailable("no leader")

    def errors() -> float:
        return value("consul_nginx_consul_watch_errors_total", kind="unavailable")

    before = errors()
    catalog = Catalog(reader=Reader(), changed=lambda _: None)
    assert catalog.age == 0
    query = ServiceQuery(service="web")
    catalog.watch_only([query])
    await catalog.heard([query], patience=5)
    assert catalog.age > 0
    assert errors() == before + 1
    await catalog.close()
    assert catalog.age == 0


def test_rejected_objects_are_counted_by_kind_and_reason_while_they_are_there():
    def with_status(raw, reason):
        verdict = {"type": "Accepted", "status": "False", "reason": reason}
        other = {"type": "Programmed", "status": "False", "reason": "NotAccepted"}
        return {**raw, "status": {"conditions": [verdict, other]}}

    resources = Resources(concerns=lambda _: None)
    resources.load_balancers.put(with_status(load_balancer_raw(), "Invalid"))
    bad = with_status(mapping_raw("a"), "Conflicted")
    resources.mappings.put(bad)
    resources.mappings.put(with_status(mapping_raw("b"), "Conflicted"))
    resources.mappings.put(mapping_raw("c"))
    assert resources.rejected() == {
        ("LoadBalancer", "Invalid"): 1,
        ("ServiceMapping", "Conflicted"): 2,
    }
    resources.mappings.remove(bad)
    assert resources.rejected()["ServiceMapping", "Conflicted"] == 1


def test_a_replica_that_leads_no_longer_tells_of_no_object():
    """Its figures would be old ones for as long as it lives."""
    leading = [True]
    metrics.tell_of_lead(name="test", leading=lambda: leading[0])
    labels = {"namespace": "shop", "name": "web", "state": "healthy"}

    def told() -> float | None:
        return REGISTRY.get_sample_value("consul_nginx_mapping_endpoints", labels)

    try:
        metrics.ENDPOINTS.labels(**labels).set(3)
        assert (told(), value("leader_election_master_status", name="test")) == (3, 1)
        leading[0] = False
        metrics.forget_objects()
        metrics.ENDPOINTS.labels(**labels).set(2)  # a report that was on its way
        assert told() is None
        assert value("leader_election_master_status", name="test") == 0
        leading[0] = True
        metrics.forget_objects()
        assert told() is None
        metrics.ENDPOINTS.labels(**labels).set(1)
        assert told() == 1
    finally:
        metrics.forget_objects()
        metrics.LEADER.clear()
        for gauge in metrics.OF_OBJECTS:
            del gauge.leading


def test_every_metric_is_documented_and_ours_in_whole_sentences(repository):
    page = (repository / "docs/reference/metrics.md").read_text(encoding="utf-8")
    agent = AgentMetrics(state=State, version="").registry
    families = [*REGISTRY.collect(), *agent.collect()]
    assert len(families) > 50
    for family in families:
        assert f"| `{family.name}" in page
        ours = not family.name.startswith("python_")
        assert not ours or family.documentation.endswith(".")
