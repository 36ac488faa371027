"""What is particular to the catalog: synthetic nodes, and versions that fence every write."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from consul_nginx.consul.errors import ConsulConflict
from consul_nginx.consul.synthetic import CatalogRegistrations, node_name
from consul_nginx.model.registration import Change, Changes, Check, Place

HTTP = Check(
    definition={
        "HTTP": "https://10.1.2.3:8080/health", "Interval": "10s", "Timeout": "2s",
        "Header": {"Host": ["shop.example.com"]}, "Method": "HEAD", "TLSSkipVerify": True,
        "DeregisterCriticalServiceAfter": "1m",
    },
)  # fmt: skip


@pytest.fixture
def name(cluster, place):
    return node_name(cluster=cluster, node=place.node)


def node_of(consul, name):
    found = consul.ask(f"catalog/node-services/{name}")["Node"]
    return found and (found["Address"], found["Meta"])


def counted(kind, result):
    labels = {"kind": kind, "result": result}
    return REGISTRY.get_sample_value("consul_nginx_registration_writes_total", labels) or 0


async def test_every_kubernetes_node_has_a_node_of_its_own_that_says_whose_it_is(
    catalog, cluster, consul, place, name, wanted, registering
):
    assert await catalog.places() == frozenset()
    await catalog.apply(place, registering(wanted()))
    marks = {"consul_nginx_cluster": cluster, "consul_nginx_node": "worker-1"}
    assert node_of(consul, name) == ("127.0.0.1", marks)
    await catalog.apply(Place(node="worker-2", ip="10.9.9.9"), registering(wanted("pod-b")))
    assert await catalog.places() == {"worker-1", "worker-2"}
    assert node_of(consul, node_name(cluster=cluster, node="worker-2"))[0] == "10.9.9.9"


async def test_an_address_that_becomes_known_is_written_and_one_that_is_not_known_is_kept(
    catalog, consul, name, wanted, registering
):
    await catalog.apply(Place(node="worker-1"), registering(wanted()))
    assert node_of(consul, name)[0] == "127.0.0.1"
    await catalog.apply(Place(node="worker-1", ip="10.0.0.7"), registering(wanted("pod-b")))
    await catalog.apply(Place(node="worker-1"), registering(wanted("pod-c")))
    assert node_of(consul, name)[0] == "10.0.0.7"


async def test_a_node_that_somebody_else_made_is_never_written_to(
    catalog, consul, place, name, wanted, registering
):
    theirs = {"Node": name, "Address": "10.0.0.9", "NodeMeta": {"owner": "them"},
              "Service": {"ID": "their", "Service": "their"}}  # fmt: skip
    consul.ask("catalog/register", theirs)
    one = wanted()
    refused = await catalog.apply(place, registering(one))
    assert "somebody else made it" in refused[one.content.id]
    assert [*await catalog.read(place)] == ["their"]
    assert node_of(consul, name) == ("10.0.0.9", {"owner": "them"})
    assert await catalog.places() == frozenset()
    assert await catalog.tidy(place) is False


async def test_of_many_changes_those_that_are_stale_cost_no_other(
    catalog, place, wanted, registering
):
    many = [wanted(f"pod-{number:03}") for number in range(100)]
    await catalog.apply(place, registering(*many[:50]))
    stale = registering(*many)  # as if none of the first fifty were there
    with pytest.raises(ConsulConflict, match="index is stale"):
        await catalog.apply(place, stale)
    held = await catalog.read(place)
    assert {one.content.id for one in many} == held.keys()


async def test_a_leader_of_before_overwrites_nothing(catalog, place, wanted, registering):
    await catalog.apply(place, registering(wanted()))
    old = await catalog.read(place)
    newer = wanted(tags=("newer",))
    await catalog.apply(place, registering(newer, held=old))
    with pytest.raises(ConsulConflict):
        await catalog.apply(place, registering(wanted(tags=("older",)), held=old))
    now = (await catalog.read(place))[newer.content.id]
    unready = Change(before=now, after=replace(newer, ready=False))
    await catalog.apply(place, Changes(readiness=(unready,)))
    with pytest.raises(ConsulConflict):
        await catalog.apply(place, Changes(readiness=(unready,)))
    held = (await catalog.read(place))[newer.content.id]
    assert (held.content, held.ready) == (newer.content, False)


async def test_what_consul_does_not_take_as_a_whole_is_found_and_the_rest_is_written(
    catalog, place, wanted, registering
):
    good = [wanted(f"pod-{number}") for number in range(9)]
    large = wanted("large", tags=("x" * 600_000,))
    unreadable = wanted("unreadable", port="80")
    refused = await catalog.apply(place, registering(*good[:4], large, unreadable, *good[4:]))
    assert refused.keys() == {large.content.id, unreadable.content.id}
    assert "too large" in refused[large.content.id]
    assert "Failed to parse" in refused[unreadable.content.id]
    assert {one.content.id for one in good} == (await catalog.read(place)).keys()


async def test_changes_of_half_a_megabyte_are_written_in_several_transactions(
    catalog, place, wanted, registering
):
    many = [wanted(f"pod-{number}", tags=("x" * 60_000,)) for number in range(10)]
    assert await catalog.apply(place, registering(*many)) == {}
    assert len(await catalog.read(place)) == 10


async def test_one_bad_registration_of_64_costs_only_itself(catalog, place, wanted, registering):
    many = [wanted(f"pod-{number}") for number in range(63)]
    bad = wanted("bad", meta={**wanted("bad").content.meta, "bad key": ""})
    before = {result: counted("register", result) for result in ("success", "refused")}
    refused = await catalog.apply(place, registering(*many[:40], bad, *many[40:]))
    assert refused.keys() == {bad.content.id}
    assert len(await catalog.read(place)) == 63
    assert counted("register", "success") - before["success"] == 63
    assert counted("register", "refused") - before["refused"] == 1


def check_of(consul, node, check_id):
    [found] = [one for one in consul.ask(f"health/node/{node}") if one["CheckID"] == check_id]
    return found


async def test_consul_esm_finds_definitions_and_keeps_the_statuses_that_it_wrote(
    api, cluster, consul, place, name, wanted, registering
):
    """By the questions that it asks, and written as it writes; consul-esm itself isn't run."""
    catalog = CatalogRegistrations(cluster=cluster, api=api, esm=True)
    one = wanted(check=HTTP)
    await catalog.apply(place, registering(one))
    external = "node-meta=external-node:true"
    [node] = [found for found in consul.ask(f"catalog/nodes?{external}") if found["Node"] == name]
    assert "external-probe" not in node["Meta"]
    checks = [
        found for found in consul.ask(f"health/state/any?{external}") if found["Node"] == name
    ]
    assert len(checks) == 2
    [check] = [found for found in checks if found["Definition"]]
    definition = check["Definition"]
    assert definition["HTTP"] == "https://10.1.2.3:8080/health"
    assert (definition["Method"], definition["TLSSkipVerify"]) == ("HEAD", True)
    assert definition["Header"] == {"Host": ["shop.example.com"]}
    assert (definition["Interval"], definition["Timeout"]) == ("10s", "2s")
    assert definition["DeregisterCriticalServiceAfter"] == "1m0s"
    assert check["Status"] == "critical"
    for number, status in enumerate(("passing", "critical", "passing")):
        found = check_of(consul, name, check["CheckID"])
        # Consul's own client for Go, which consul-esm reads and writes with, doesn't know these.
        found = {key: found[key] for key in found.keys() - {"Interval", "Timeout"}}
        consul.ask("txn", [{"Check": {"Verb": "cas", "Check": {**found, "Status": status}}}])
        held = await catalog.read(place)
        now = wanted(check=HTTP, tags=(f"v{number}",))
        assert held[now.content.id].ready is True
        await catalog.apply(place, registering(now, held=held))
        found = check_of(consul, name, check["CheckID"])
        assert (found["Status"], found["Definition"]) == (status, definition)


async def test_a_node_is_tidied_away_once_nothing_is_on_it(
    catalog, consul, place, name, wanted, registering
):
    await catalog.apply(place, registering(wanted()))
    assert await catalog.tidy(place) is False
    held = await catalog.read(place)
    await catalog.apply(place, Changes(remove=(*held.values(),)))
    assert await catalog.tidy(place) is True
    assert node_of(consul, name) is None
    assert await catalog.read(place) == {}
    assert await catalog.tidy(place) is False


async def test_a_node_with_marks_of_ours_under_another_name_is_no_place_of_ours(
    catalog, cluster, consul, place
):
    marks = {"consul_nginx_cluster": cluster, "consul_nginx_node": "worker-1"}
    consul.ask("catalog/register", {"Node": "copied", "Address": "10.0.0.9", "NodeMeta": marks})
    assert await catalog.places() == frozenset()


async def test_removals_alone_make_no_node(catalog, consul, place, name, wanted, registering):
    await catalog.apply(place, registering(wanted()))
    held = await catalog.read(place)
    removal = Changes(remove=(*held.values(),))
    await catalog.apply(place, removal)
    await catalog.tidy(place)
    with pytest.raises(ConsulConflict):
        await catalog.apply(place, removal)
    assert node_of(consul, name) is None
