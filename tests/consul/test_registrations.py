"""What both ways to register have in common, against a real Consul."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from consul_nginx.consul.errors import ConsulConflict
from consul_nginx.consul.presence import present
from consul_nginx.model.registration import Change, Changes, Check
from consul_nginx.registrar.difference import difference

HTTP = Check(
    definition={"HTTP": "http://127.0.0.1:9/health", "Interval": "10s", "Timeout": "2s"},
    initial_status="passing",
)


@pytest.fixture(params=["agents", "catalog"])
def registrations(request):
    """Each test runs twice: on an agent, and in the catalog."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"id": "a b/../c//d%2Fé?x=1#y;z"},
        {"tags": (), "weight": 1, "enable_tag_override": True},
        {"address": "2001:db8::1", "name": "Odd_name."},
        {"tags": ("<b>\n", "x" * 600, "{{ 1 }}")},
    ],
)
async def test_what_is_registered_is_held_and_equal(
    registrations, place, cluster, wanted, registering, content, ready
):
    one = wanted(ready=ready, **content)
    assert await registrations.apply(place, registering(one)) == {}
    everything = await registrations.read(place)
    held = everything[one.content.id]
    assert (held.content, held.owner, held.ready) == (one.content, one.owner, ready)
    assert not difference(wanted=[one], held=everything, cluster=cluster, may_remove=lambda _: True)


async def test_the_check_that_is_asked_for_is_held_by_its_fingerprint(
    registrations, place, wanted, registering
):
    one = wanted(check=HTTP)
    await registrations.apply(place, registering(one))
    held = (await registrations.read(place))[one.content.id]
    assert held.content == one.content
    other = replace(HTTP, definition={**HTTP.definition, "Interval": "20s"})
    changed = wanted(check=other)
    await registrations.apply(place, registering(changed, held={one.content.id: held}))
    held = (await registrations.read(place))[one.content.id]
    assert held.content == changed.content
    none = wanted()
    await registrations.apply(place, registering(none, held={one.content.id: held}))
    assert (await registrations.read(place))[one.content.id].content == none.content


async def test_a_check_that_is_not_to_be_written_is_not(registrations, place, wanted, registering):
    one = wanted(check=HTTP, checks=frozenset())
    await registrations.apply(place, registering(one))
    assert (await registrations.read(place))[one.content.id].content == one.content


async def test_a_ttl_check_is_the_readiness_check(registrations, place, wanted, registering):
    one = wanted(check=Check(definition={"TTL": "10m"}))
    await registrations.apply(place, registering(one))
    held = (await registrations.read(place))[one.content.id]
    assert (held.content, held.ready) == (one.content, True)


async def test_readiness_alone_is_written_and_everything_else_stays(
    registrations, place, wanted, registering
):
    one = wanted(ready=True)
    await registrations.apply(place, registering(one))
    before = (await registrations.read(place))[one.content.id]
    change = Change(before=before, after=replace(one, ready=False))
    assert await registrations.apply(place, Changes(readiness=(change,))) == {}
    after = (await registrations.read(place))[one.content.id]
    assert (after.ready, after.content, after.version) == (False, before.content, before.version)


async def test_another_content_and_another_readiness_are_written_at_once(
    registrations, place, wanted, registering
):
    one = wanted(ready=True)
    await registrations.apply(place, registering(one))
    held = await registrations.read(place)
    changed = wanted(ready=False, tags=("new",), name="other")
    await registrations.apply(place, registering(changed, held=held))
    after = (await registrations.read(place))[one.content.id]
    assert (after.content, after.ready) == (changed.content, False)


async def test_what_is_removed_is_gone_with_its_checks(
    registrations, place, wanted, registering, api, cluster
):
    one, two = wanted("pod-a", check=HTTP), wanted("pod-b")
    await registrations.apply(place, registering(one, two))
    held = await registrations.read(place)
    await registrations.apply(place, Changes(remove=(held[one.content.id],)))
    assert one.content.id not in await registrations.read(place)
    checks = (await api.all("health/state/any")).found
    assert not [check for check in checks if check["ServiceID"] == one.content.id]
    assert two.content.id in await registrations.read(place)


async def test_a_removal_after_the_id_went_to_another_pod_removes_nothing(
    registrations, place, wanted, registering
):
    one = wanted(uid="first")
    await registrations.apply(place, registering(one))
    held = await registrations.read(place)
    second = wanted(uid="second")
    await registrations.apply(place, registering(second, held=held))
    with pytest.raises(ConsulConflict):
        await registrations.apply(place, Changes(remove=(held[one.content.id],)))
    assert (await registrations.read(place))[one.content.id].owner == second.owner


async def test_a_refusal_is_told_in_consuls_words_and_costs_no_other(
    registrations, place, wanted, registering
):
    good = [wanted(f"good-{number}") for number in range(30)]
    bad = wanted("bad", address="0.0.0.0")
    refused = await registrations.apply(place, registering(*good[:15], bad, *good[15:]))
    assert refused.keys() == {bad.content.id}
    assert "Invalid service address" in refused[bad.content.id]
    held = await registrations.read(place)
    assert all(one.content.id in held for one in good)
    assert bad.content.id not in held


async def test_two_clusters_never_take_each_others_for_their_own(
    registrations, place, wanted, registering, api, cluster
):
    mine, theirs = wanted("mine"), wanted("theirs", of=f"{cluster}.b")
    await registrations.apply(place, registering(mine, theirs))
    held = await registrations.read(place)
    assert held[mine.content.id].owner == mine.owner
    assert held[theirs.content.id].owner is None
    assert held[theirs.content.id].ready is None


async def test_one_blocking_query_tells_of_everything(
    registrations, place, wanted, registering, api, cluster
):
    one, two = wanted("pod-a", ready=True, check=HTTP), wanted("pod-b", ready=False)
    await registrations.apply(place, registering(one, two, wanted("pod-c", of=f"{cluster}.b")))
    index, found = 0, Counter()
    expected = Counter([(one.content.id, "passing"), (two.content.id, "critical")])
    while found != expected:
        index, found = await present(api=api, cluster=cluster, index=index)
    assert index > 0
