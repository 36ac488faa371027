"""What somebody changes or deletes by hand is put right within seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster.support.shop import HOST
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

# Far less than the five minutes after which everything is applied anew in any case.
SOON_S = 20.0


def patch(cluster: Cluster, what: str, body: dict[str, Any]) -> None:
    words = ("patch", "-n", "shop", what, "--type=merge", "-p", json.dumps(body))
    cluster.kubectl(*words)


def test_an_edited_bundle_is_written_anew(cluster: Cluster, shop: Shop):
    before = shop.get("configmap", "edge-config")["data"]
    with traffic(address=shop.address, host=HOST) as sent:
        edit = {"data": {"upstreams.conf": "broken {", "added.conf": "by hand"}}
        patch(cluster, "configmap/edge-config", edit)

        def repaired() -> bool:
            data = shop.get("configmap", "edge-config")["data"]
            return data.keys() == before.keys() and (
                data["upstreams.conf"] == before["upstreams.conf"]
            )

        wait_for(repaired, what="the bundle is as it was", seconds=SOON_S)
        wait_for(shop.is_programmed, what="every pod serves it")
    assert not sent.failures, sent.explain()


@pytest.mark.parametrize(
    ("what", "edit", "path", "value"),
    [
        ("deployment/edge", {"spec": {"replicas": 1}}, ("spec", "replicas"), 2),
        (
            "service/edge",
            {"spec": {"selector": {"app": "mine"}}},
            ("spec", "selector", "app"),
            "mine",
        ),
        ("role/edge", {"rules": []}, ("rules", 0, "resources", 0), "configmaps"),
        (
            "poddisruptionbudget/edge",
            {"spec": {"maxUnavailable": 2}},
            ("spec", "maxUnavailable"),
            1,
        ),
    ],
)
def test_an_edited_object_is_applied_anew_and_what_others_added_is_theirs(
    cluster: Cluster,
    shop: Shop,
    what: str,
    edit: dict[str, Any],
    path: tuple[str | int, ...],
    value: object,
):
    patch(cluster, what, edit)

    def found() -> object:
        raw: Any = shop.get(*what.split("/"))
        try:
            for key in path:
                raw = raw[key]
        except (LookupError, TypeError):
            return None
        return raw

    try:
        wait_for(lambda: found() == value, what=f"{what} is as it should be", seconds=SOON_S)
    finally:
        if what == "service/edge":
            patch(cluster, what, {"spec": {"selector": {"app": None}}})
    cluster.kubectl("rollout", "status", "-n", "shop", "deployment/edge", "--timeout=60s")


@pytest.mark.parametrize("what", ["configmap/edge-config", "configmap/edge-state", "role/edge"])
def test_a_deleted_object_is_there_again(cluster: Cluster, shop: Shop, what: str):
    with traffic(address=shop.address, host=HOST) as sent:
        uid = shop.get(*what.split("/"))["metadata"]["uid"]
        cluster.kubectl("delete", "-n", "shop", what)

        def there_again() -> bool:
            said = cluster.kubectl(
                "get", "-n", "shop", what, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"
            )
            return said not in ("", uid)

        wait_for(there_again, what=f"{what} is there again", seconds=SOON_S)
        wait_for(shop.is_programmed, what="every pod serves the bundle")
    assert not sent.failures, sent.explain()


def test_while_paused_hand_edits_stay_and_changes_wait(cluster: Cluster, shop: Shop):
    patch(cluster, "nlb/edge", {"spec": {"paused": True}})
    try:
        wait_for(
            lambda: shop.condition("nlb", "edge", "Ready").get("reason") == "Paused",
            what="it says that it is paused",
        )
        patch(cluster, "deployment/edge", {"spec": {"replicas": 3}})
        victim = shop.app_pods()[0]["metadata"]["name"]
        shop.take_out(victim)
        wait_for(
            lambda: shop.get("smap", "features")["status"]["endpoints"]["summary"] == "2/3",
            what="the operator knows of the change",
        )
        assert len(shop.backends()) == 3
        assert shop.get("deployment", "edge")["spec"]["replicas"] == 3
    finally:
        patch(cluster, "nlb/edge", {"spec": {"paused": False}})
    wait_for(
        lambda: shop.get("deployment", "edge")["spec"]["replicas"] == 2,
        what="the hand edit is put right",
    )
    shop.wait_backends(2)
    shop.wait_ready()
