"""What is particular to agents: they run checks, keep statuses and know no versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.errors import ConsulConflict, ConsulUnavailable
from consul_nginx.consul.transport import PooledTransport, id_segment
from consul_nginx.model.registration import Change, Changes, Check, Place
from nginx.support import wait_for


def status_of(consul, registration):
    checks = consul.ask("agent/checks").values()
    return {
        check["Name"].split(" [")[0]: check["Status"]
        for check in checks
        if check["ServiceID"] == registration.content.id
    }


async def test_an_operator_that_is_away_turns_nothing_critical(agents, place, wanted, consul,
                                                               registering):  # fmt: skip
    one = wanted()
    await agents.apply(place, registering(one))
    [check] = [
        check
        for check in consul.ask("agent/checks").values()
        if check["ServiceID"] == one.content.id
    ]
    assert (check["Type"], check["Output"]) == ("ttl", "the Pod is ready")


async def test_a_status_that_is_none_of_ours_is_written_anew(
    agents, api, place, wanted, consul, registering
):
    one = wanted(ready=False)
    await agents.apply(place, registering(one))
    check = id_segment(f"readiness:{one.content.id}")
    await api.put(f"agent/check/update/{check}", body={"Status": "warning"})
    held = await agents.read(place)
    assert held[one.content.id].ready is None
    await agents.apply(place, registering(one, held=held))
    assert status_of(consul, one) == {"Pod readiness": "critical"}


async def test_the_agent_runs_what_is_asked_for_and_readiness_is_beside_it(
    agents, place, wanted, consul, registering
):
    one = wanted(
        check=Check(
            definition={"HTTP": f"{consul.url}/v1/status/leader", "Interval": "1s"},
        )
    )
    await agents.apply(place, registering(one))
    passing = {"Pod readiness": "passing", "What the Pod's annotations ask for": "passing"}
    wait_for(lambda: status_of(consul, one) == passing)


async def test_a_check_of_another_type_is_no_longer_run_as_the_first(
    agents, place, wanted, consul, registering
):
    one = wanted(check=Check(definition={"HTTP": f"{consul.url}/v1/nothing", "Interval": "1s"}))
    await agents.apply(place, registering(one))
    wait_for(lambda: any("404" in check["Output"] for check in consul.ask("agent/checks").values()
                         if check["ServiceID"] == one.content.id))  # fmt: skip
    tcp = wanted(check=Check(definition={"TCP": f"127.0.0.1:{consul.port}", "Interval": "1s"}))
    await agents.apply(place, registering(tcp, held=await agents.read(place)))
    wait_for(lambda: set(status_of(consul, tcp).values()) == {"passing"})
    types = [check["Type"] for check in consul.ask("agent/checks").values()
             if check["ServiceID"] == one.content.id]  # fmt: skip
    assert sorted(types) == ["tcp", "ttl"]


async def test_another_content_keeps_what_the_agent_found_by_its_check(
    agents, place, wanted, consul, registering
):
    check = Check(definition={"TCP": f"127.0.0.1:{consul.port}", "Interval": "1s"})
    one = wanted(check=check)
    await agents.apply(place, registering(one))
    wait_for(lambda: set(status_of(consul, one).values()) == {"passing"})
    other = wanted(check=check, tags=("other",))
    await agents.apply(place, registering(other, held=await agents.read(place)))
    assert set(status_of(consul, other).values()) == {"passing"}


async def test_a_ttl_check_that_ran_out_passes_again_once_it_is_refreshed(
    agents, place, wanted, consul, registering
):
    one = wanted(check=Check(definition={"TTL": "1s"}))
    await agents.apply(place, registering(one))
    wait_for(lambda: status_of(consul, one) == {"Pod readiness": "critical"})
    assert (await agents.read(place))[one.content.id].ready is False
    assert await agents.refresh(place, {one.content.id: True}) == {}
    assert status_of(consul, one) == {"Pod readiness": "passing"}


async def test_readiness_of_what_the_agent_lost_is_a_conflict(agents, place, wanted, registering):
    lost, kept = wanted("lost"), wanted("kept")
    await agents.apply(place, registering(kept))
    changes = Changes(
        readiness=tuple(
            Change(before=None, after=replace(one, ready=False)) for one in (lost, kept)
        )
    )
    with pytest.raises(ConsulConflict, match="Unknown check ID"):
        await agents.apply(place, changes)
    assert (await agents.read(place))[kept.content.id].ready is False


async def test_a_readiness_check_that_somebody_replaced_is_missing(
    agents, place, wanted, consul, registering, cluster
):
    one = wanted()
    await agents.apply(place, registering(one))
    another = {"ID": f"readiness:{one.content.id}", "Name": "x", "ServiceID": one.content.id,
               "Notes": f"consul-nginx-operator in cluster {cluster}",
               "TCP": "127.0.0.1:1", "Interval": "1h"}  # fmt: skip
    consul.ask("agent/check/register", another)
    held = await agents.read(place)
    assert held[one.content.id].ready is None
    await agents.apply(place, registering(one, held=held))
    assert (await agents.read(place))[one.content.id].ready is True


async def test_what_is_gone_needs_no_removal(agents, place, wanted, registering):
    one = wanted()
    await agents.apply(place, registering(one))
    held = await agents.read(place)
    removal = Changes(remove=(held[one.content.id],))
    await agents.apply(place, removal)
    assert await agents.apply(place, removal) == {}


@pytest.mark.parametrize("service_id", ["..", ".", "a\x00b", "a\nb", ""])
async def test_an_id_that_could_not_be_removed_is_not_registered(
    agents, place, wanted, consul, registering, service_id
):
    one = wanted(id=service_id)
    refused = await agents.apply(place, registering(one))
    assert "unsafe name" in refused[service_id]
    assert service_id not in consul.ask("agent/services")


@pytest.mark.parametrize("ip", ["", "nowhere", "127.0.0.1:80", "127.0.0.1/../x"])
async def test_a_node_without_an_address_is_waited_for(agents, ip):
    with pytest.raises(ConsulUnavailable, match="address"):
        await agents.read(Place(node="worker-1", ip=ip))


async def test_an_agent_that_does_not_answer_is_unavailable(cluster, wanted, registering):
    agents = AgentRegistrations(
        cluster=cluster, connect=lambda url: PooledTransport(address=url), port=1
    )
    place = Place(node="worker-1", ip="127.0.0.1")
    with pytest.raises(ConsulUnavailable):
        await agents.read(place)
    with pytest.raises(ConsulUnavailable):
        await agents.apply(place, registering(wanted()))
    await agents.close()


async def test_connections_to_agents_are_bounded_and_an_ipv6_address_gets_brackets(
    cluster, consul, monkeypatch
):
    monkeypatch.setattr("consul_nginx.consul.agents.MAX_AGENTS", 2)
    opened, closed = [], []

    class Transport(PooledTransport):
        def __init__(self, *, address):
            opened.append(address)
            # All addresses are the one agent's.
            super().__init__(address=consul.url)
            self.address = address

        async def close(self):
            closed.append(self.address)
            await super().close()

    agents = AgentRegistrations(
        cluster=cluster, connect=lambda url: Transport(address=url), scheme="https", port=8501
    )
    for ip in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "2001:db8::1"):
        await agents.read(Place(node="x", ip=ip))
    assert opened == [
        "https://10.0.0.1:8501", "https://10.0.0.2:8501", "https://[2001:db8::1]:8501",
    ]  # fmt: skip
    assert closed == ["https://10.0.0.2:8501"]
    await agents.close()
    assert sorted(closed) == sorted(opened)
