"""What a watch observes of a real Consul, and who is served then."""

from __future__ import annotations

import asyncio
import contextlib
import time

from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import UNKNOWN, Health, Observation, PodMark, ServiceQuery
from consul_nginx.model.health import HealthPolicy
from consul_nginx.plan.health import Outcome, decide
from consul_nginx.plan.survey import NONE_GONE, GonePods
from nginx.support import wait_for

PATIENCE_S = 60.0


class Watched:
    """One service of a Consul, watched as the operator does."""

    def __init__(self, http: PooledTransport, service: str) -> None:
        self.query = ServiceQuery(service=service)
        self._news = asyncio.Event()
        self.seen: list[Observation] = []
        self._catalog = Catalog(reader=ConsulClient(http=http), changed=self._changed)
        self._catalog.watch_only([self.query])

    def _changed(self, query: ServiceQuery) -> None:
        self.seen.append(self._catalog.snapshot()[query])
        self._news.set()

    async def until(self, seen):
        """The first observation that is as ``seen`` says."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._news.clear()
                observation = self._catalog.snapshot().get(self.query, UNKNOWN)
                if seen(observation):
                    return observation
                await self._news.wait()

    async def close(self) -> None:
        await self._catalog.close()


@contextlib.asynccontextmanager
async def watched(consul, service):
    async with PooledTransport(address=consul.url) as http:
        found = Watched(http, service)
        try:
            yield found
        finally:
            await found.close()


def healths(observation):
    return {item.id: item.health for item in observation.instances or ()}


def decided(observation, *, now=None, gone=NONE_GONE, **policy):
    return decide(
        policy=HealthPolicy(**policy),
        observations=[observation],
        weights=[1],
        gone=gone,
        now=time.time() if now is None else now,
    )


def served(decision):
    [selection] = decision.selections
    return [endpoint.address for endpoint in selection.endpoints]


def say(consul, service, name, status):
    """Register an instance with an address of its own that nobody checks."""
    node = f"node-{service}"
    address = f"10.1.0.{len(name)}"
    body = {"ID": name, "Service": service, "Address": address, "Port": 80}
    check = {"Node": node, "CheckID": name, "Name": name, "ServiceID": name, "Status": status}
    whole = {"Node": node, "Address": "10.9.9.9", "Service": body, "Check": check}
    consul.ask("catalog/register", whole)


def forget(consul, service, name):
    consul.ask("catalog/deregister", {"Node": f"node-{service}", "ServiceID": name})


async def test_an_instance_is_served_until_its_pod_is_seen_to_end(
    consul, catalog, cluster, place, wanted, registering
):
    await catalog.apply(place, registering(wanted("pod-a", name="marked")))
    async with watched(consul, "marked") as watch:
        observation = await watch.until(lambda seen: seen.instances)
        [found] = observation.instances
        assert found.pod == PodMark(cluster=cluster, namespace="shop", uid="pod-a")
        assert served(decided(observation)) == ["10.1.2.3"]
        gone = GonePods(ended=frozenset({found.pod.uid}))
        assert served(decided(observation, gone=gone)) == []


async def test_a_service_that_is_emptied_is_empty_at_once_whatever_the_policy(consul):
    say(consul, "emptied", "a", "passing")
    async with watched(consul, "emptied") as watch:
        await watch.until(lambda seen: seen.instances)
        forget(consul, "emptied", "a")
        observation = await watch.until(lambda seen: seen.instances == ())
        assert observation.error is None
        assert decided(observation, keep=600, keep_few=True).outcome is Outcome.EMPTY


async def test_failed_instances_are_kept_from_the_time_they_failed(consul):
    say(consul, "failing", "a", "passing")
    say(consul, "failing", "bb", "passing")
    async with watched(consul, "failing") as watch:
        await watch.until(lambda seen: len(seen.instances or ()) == 2)
        began = time.time()
        say(consul, "failing", "a", "critical")
        say(consul, "failing", "bb", "critical")
        observation = await watch.until(
            lambda seen: set(healths(seen).values()) == {Health.CRITICAL}
        )
        assert served(decided(observation)) == []
        kept = decided(observation, keep=600, keep_few=True)
        assert served(kept) == ["10.1.0.1", "10.1.0.2"]
        assert began <= kept.until - 600 <= time.time()


async def test_a_consul_that_goes_away_takes_nobody_along_for_however_long(mortal):
    say(mortal, "lasting", "a", "passing")
    async with watched(mortal, "lasting") as watch:
        await watch.until(lambda seen: seen.instances)
        mortal.kill()
        observation = await watch.until(lambda seen: seen.error is not None)
        assert served(decided(observation, now=time.time() + 1e6)) == ["10.1.0.1"]


async def test_warning_counts_if_the_policy_says_so(consul):
    say(consul, "warned", "a", "warning")
    async with watched(consul, "warned") as watch:
        observation = await watch.until(lambda seen: seen.instances)
        assert served(decided(observation)) == []
        assert served(decided(observation, warning=True)) == ["10.1.0.1"]


async def test_elections_and_a_lost_quorum_take_nobody_out(servers):
    """A leader is killed, then another one, which leaves no quorum; then both come back."""
    first = servers.leader()
    watcher = next(number for number in range(3) if number != first)
    say(servers.at(watcher), "elected", "a", "passing")
    say(servers.at(watcher), "elected", "bb", "passing")
    async with watched(servers.at(watcher), "elected") as watch:
        await watch.until(lambda seen: len(seen.instances or ()) == 2)
        from_here = len(watch.seen)
        servers.kill(first)
        await asyncio.to_thread(wait_for, servers.has_leader, seconds=60)
        [other] = servers.processes.keys() - {watcher}
        servers.kill(other)
        observation = await watch.until(lambda seen: seen.error is not None)
        assert served(decided(observation)) == ["10.1.0.1", "10.1.0.2"]
        for number in (first, other):
            servers.start(number)
        await watch.until(lambda seen: seen.error is None)
        assert {len(seen.instances or ()) for seen in watch.seen[from_here:]} == {2}
        forget(servers.at(watcher), "elected", "a")
        await watch.until(lambda seen: len(seen.instances or ()) == 1)


async def test_what_community_edition_refuses_has_no_instances_and_the_others_are_served(consul):
    """A mapping that asks for a namespace beside a backend that is there."""
    lone = {"ID": "lone-1", "Name": "lone", "Address": "10.0.0.1", "Port": 80}
    consul.ask("agent/service/register", lone)
    fine = ServiceQuery(service="lone")
    refused = ServiceQuery(service="lone", namespace="shop")
    wrong = ServiceQuery(service="lone", filter="Service.Nothing == 1")
    queries = [fine, refused, wrong]
    async with PooledTransport(address=consul.url) as http:
        catalog = Catalog(reader=ConsulClient(http=http), changed=lambda _: None)
        catalog.watch_only(queries)
        await catalog.heard(queries, patience=PATIENCE_S)
        seen = [catalog.snapshot()[query] for query in queries]
        await catalog.close()
    assert [item.refused for item in seen] == [False, True, True]
    decision = decide(policy=HealthPolicy(), observations=seen, weights=[1, 1, 1], now=time.time())
    assert decision.outcome is Outcome.HEALTHY
    assert [[one.address for one in item.endpoints] for item in decision.selections] == [
        ["10.0.0.1"],
        [],
        [],
    ]
    decision = decide(policy=HealthPolicy(), observations=seen[1:], weights=[1, 1], now=time.time())
    assert decision.outcome is Outcome.UNKNOWN, "nginx keeps what it has"
