"""A change in Consul reaches nginx: seen by requests, without a failed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.support.consul_api import maintain
from cluster.support.shop import HOST, TEST_SERVER_THRIFT
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.shop import Shop

PATH = "/features"


def pod_names(shop: Shop) -> set[str]:
    return {pod["metadata"]["name"] for pod in shop.app_pods()}


def test_nginx_has_three_backends_and_requests_rotate_over_all(shop: Shop):
    assert shop.backends() == {f"{pod['status']['podIP']}:8080" for pod in shop.app_pods()}
    answered = {ask(address=shop.address, host=HOST, path=PATH)[1]["pod"] for _ in range(20)}
    assert answered == pod_names(shop)


def test_backends_see_the_host_and_the_client(shop: Shop):
    _, body = ask(address=shop.address, host=HOST, path=PATH)
    headers = body["headers"]
    assert headers["host"] == headers["x-forwarded-host"] == HOST
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-real-ip"] == headers["x-forwarded-for"]


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        (HOST, "/features", 200),
        (HOST, "/features/", 200),
        (HOST, "/features?x=1", 200),
        (HOST, "/featuresque", 404),
        (HOST, "/", 404),
        ("other.example.com", "/features", 404),
    ],
)
def test_host_and_path_prefix_decide(shop: Shop, host: str, path: str, status: int):
    assert ask(address=shop.address, host=host, path=path)[0] == status


def test_a_pod_that_is_no_longer_to_be_registered_leaves_and_comes_back_without_a_failed_request(
    cluster: Cluster, shop: Shop
):
    victim = shop.app_pods()[0]["metadata"]["name"]
    annotate = ("annotate", "-n", "shop", f"pod/{victim}")
    with traffic(address=shop.address, host=HOST) as sent:
        wait_for(lambda: victim in sent.by_pod, what=f"{victim} is served")
        cluster.kubectl(*annotate, "SERVICE_IGNORE=true")
        shop.wait_backends(2)
        assert victim not in shop.instances()
        left = sent.elapsed() + 3  # keepaliveGrace, and the old workers' last answers
        wait_for(lambda: sent.elapsed() > left + 1, what="a second of traffic")
        assert victim not in sent.pods_since(left)
        cluster.kubectl(*annotate, "SERVICE_IGNORE-")
        shop.wait_backends(3)
        back = sent.elapsed()
        wait_for(lambda: victim in sent.pods_since(back), what=f"{victim} is served again")
    assert not sent.failures, sent.explain()
    assert sent.requests > 200


def test_a_failing_check_takes_an_instance_out_and_a_passing_one_brings_it_back(shop: Shop):
    pod = shop.app_pods()[0]
    address = f"{pod['status']['podIP']}:8080"
    ask(address=address, host=HOST, path="/fail", method="POST")
    try:
        assert address not in shop.wait_backends(2)
        statuses = {ask(address=shop.address, host=HOST, path=PATH)[0] for _ in range(20)}
        assert statuses == {200}
    finally:
        ask(address=address, host=HOST, path="/heal", method="POST")
    assert address in shop.wait_backends(3)


def test_maintenance_takes_an_instance_out_without_a_failed_request(shop: Shop):
    name = shop.app_pods()[1]["metadata"]["name"]
    with traffic(address=shop.address, host=HOST) as sent:
        shop.take_out(name)
        try:
            shop.wait_backends(2)
            left = sent.elapsed() + 3
            wait_for(lambda: sent.elapsed() > left + 1, what="a second of traffic")
            assert name not in sent.pods_since(left)
        finally:
            shop.bring_back()
        shop.wait_backends(3)
    assert not sent.failures, sent.explain()


def test_no_healthy_instance_is_a_503_and_said_in_the_mapping(shop: Shop):
    addresses = [f"{pod['status']['podIP']}:8080" for pod in shop.app_pods()]
    try:
        for address in addresses:
            ask(address=address, host=HOST, path="/fail", method="POST")
        shop.wait_backends(0)
        assert ask(address=shop.address, host=HOST, path=PATH)[0] == 503
        wait_for(
            lambda: (
                shop.condition("smap", "features", "ResolvedRefs").get("reason")
                == "NoHealthyEndpoints"
            ),
            what="the condition names it",
        )
    finally:
        for address in addresses:
            ask(address=address, host=HOST, path="/heal", method="POST")
    shop.wait_backends(3)
    assert ask(address=shop.address, host=HOST, path=PATH)[0] == 200


def test_many_changes_in_a_row_are_few_reloads(shop: Shop):
    """The first goes out at once; what follows within 100 ms of each other waits, 1 s at most."""
    instance = next(iter(shop.instances(TEST_SERVER_THRIFT).values()))
    before = shop.reloads()
    with traffic(address=shop.address, host=HOST) as sent:
        for number in range(40):
            maintain(instance.agent, instance.id, enable=number % 2 == 0)
        shop.wait_all_backends()
    spent = [count - before[pod] for pod, count in shop.reloads().items()]
    assert max(spent) <= 20, spent
    assert not sent.failures, sent.explain()
