"""All of Consul away: nginx keeps what it has, people are told, and it mends by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cluster.support.consul_servers import cut_off, scale_servers, silent
from cluster.support.shop import APP, HOST, INSTANCES, LAYERS, TEST_SERVER_HTTP, TEST_SERVER_THRIFT
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop


@pytest.fixture
def out_of_reach(cluster: Cluster, shop: Shop) -> Iterator[None]:
    """No pod reaches Consul's servers while the test runs."""
    with cut_off(cluster):
        yield
    wait_for(
        lambda: shop.condition("smap", "features", "ResolvedRefs").get("status") == "True",
        what="Consul answers again",
        seconds=120,
    )


def resolved_is_unknown(shop: Shop, kind: str, name: str) -> bool:
    condition = shop.condition(kind, name, "ResolvedRefs")
    return (condition.get("status"), condition.get("reason")) == ("Unknown", "ConsulUnreachable")


def test_nginx_keeps_what_it_has_and_the_conditions_say_so(cluster: Cluster, shop: Shop):
    before, generation = shop.backends(), shop.reloads()
    with traffic(address=shop.address, host=HOST) as sent:
        scale_servers(cluster, 0)
        try:
            for kind, name in (("smap", "features"), ("nlb", "edge")):
                wait_for(
                    lambda k=kind, n=name: resolved_is_unknown(shop, k, n),
                    what=f"{name} says that Consul is unreachable",
                )
            assert shop.backends() == before
            assert shop.condition("nlb", "edge", "Ready")["status"] == "True"
        finally:
            scale_servers(cluster, 3)
        wait_for(
            lambda: shop.condition("smap", "features", "ResolvedRefs").get("status") == "True",
            what="Consul answers again, by itself",
            seconds=120,
        )
        shop.wait_backends(3)
    assert not sent.failures, sent.explain()
    assert shop.backends() == before, "registrations survived the servers' restart"
    assert shop.reloads() == generation


def test_an_operator_that_starts_out_of_consuls_reach_changes_nothing(
    cluster: Cluster, release: Release, shop: Shop, out_of_reach: None
):
    before, reloads = shop.backends(), shop.reloads()
    old = release.operator_pod()["metadata"]["name"]
    cluster.kubectl("delete", "pod", "-n", "consul-nginx", old, "--now")
    release.wait_for_another_operator(old)
    wait_for(
        lambda: resolved_is_unknown(shop, "smap", "features"),
        what="the other operator knows that Consul does not answer",
    )
    assert shop.backends() == before
    assert shop.reloads() == reloads
    assert ask(address=shop.address, host=HOST, path="/features")[0] == 200


def edit_listener(cluster: Cluster, name: str) -> None:
    patch = f'{{"spec": {{"listener": "{name}"}}}}'
    cluster.kubectl("patch", "-n", "shop", "smap/features", "--type=merge", "-p", patch)


def test_a_rejected_edit_a_restart_without_consul_and_a_move_cost_nothing(
    cluster: Cluster, release: Release, shop: Shop
):
    with traffic(address=shop.address, host=HOST) as sent:
        edit_listener(cluster, "htp")
        try:
            wait_for(
                lambda: shop.condition("smap", "features", "Accepted").get("status") == "False",
                what="the edit is rejected",
            )
            with cut_off(cluster):
                old = release.operator_pod()["metadata"]["name"]
                cluster.kubectl("delete", "pod", "-n", "consul-nginx", old, "--now")
                release.wait_for_another_operator(old)
                assert len(shop.backends()) == 3
            victim = shop.app_pods()[0]["metadata"]["name"]
            wait_for(
                lambda: shop.condition("smap", "features", "ResolvedRefs").get("status") == "True",
                what="Consul answers again",
                seconds=120,
            )
            shop.take_out(victim)
            shop.wait_backends(2)
        finally:
            edit_listener(cluster, "http")
        shop.bring_back()
        shop.wait_backends(3)
    assert not sent.failures, sent.explain()


def choose(cluster: Cluster, **change: str) -> None:
    """Change the filter of the mapping: another question, with the same answer."""
    patch = json.dumps([{**change, "path": "/spec/backends/0/filter"}])
    cluster.kubectl("patch", "-n", "shop", "smap/features", "--type=json", "-p", patch)


def test_a_mapping_that_is_edited_without_consul_is_served_as_before(cluster: Cluster, shop: Shop):
    with traffic(address=shop.address, host=HOST) as sent:
        before = shop.backends()
        try:
            with cut_off(cluster):
                choose(cluster, op="add", value="Service.Port != 1")
                wait_for(
                    lambda: (
                        "was served before, is served on"
                        in shop.condition("smap", "features", "ResolvedRefs").get("message", "")
                    ),
                    what="people are told",
                )
                assert shop.backends() == before
            wait_for(
                lambda: shop.condition("smap", "features", "Programmed").get("status") == "True",
                what="what it says now is served",
                seconds=120,
            )
        finally:
            choose(cluster, op="remove")
        wait_for(
            lambda: shop.condition("smap", "features", "Programmed").get("status") == "True",
            what="it is as it was",
        )
        shop.wait_backends(3)
    assert not sent.failures, sent.explain()


def test_connections_to_consul_that_fall_silent_are_made_anew(cluster: Cluster, shop: Shop):
    """A blocking query on such a connection would be answered by nobody for five minutes."""
    with silent(cluster):
        for service in (APP, TEST_SERVER_HTTP, TEST_SERVER_THRIFT):
            shop.take_out(min(shop.instances(service)), service)
        wait_for(
            lambda: all(
                len(shop.backends(service, LAYERS[service])) == count - 1
                for service, count in INSTANCES.items()
            ),
            what="nginx has one less of each",
        )
