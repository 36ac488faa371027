"""What is known of Pods, and which of them were seen to end."""

from __future__ import annotations

from typing import Any

import pytest

from consul_nginx.loops.brake import CONFIRM_S, FREE, REMEMBER_S, Brake
from consul_nginx.loops.gone import Gone
from consul_nginx.loops.pods import Pods, Raw
from consul_nginx.model.consul import PodMark
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Pod
from consul_nginx.plan.survey import NONE_GONE, GonePods
from consul_nginx.registrar.pod import MalformedPodError


def raw(
    name: str = "web", *, version: int = 1, uid: str = "", node: str = "node-1", **fields: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)},
        "node": node,
        **fields,
    }


def parse(item: Raw) -> Pod:
    if item.get("malformed"):
        raise MalformedPodError("metadata.name: missing")
    return Pod(
        ref=ObjectRef(namespace="shop", name=item["metadata"]["name"]),
        uid=item["metadata"]["uid"],
        created="",
        annotations={},
        controlled=True,
        containers=(),
        host_network=False,
        node=item["node"],
        node_ips=("172.30.0.11",) if item["node"] else (),
        ips=("10.0.0.1",),
        ready=item.get("ready", True),
        leaving=item.get("leaving", False),
    )


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def pods(told: list[str]) -> Pods:
    return Pods(parse=parse, changed=told.append)


def test_a_change_is_told_once_with_the_node(pods: Pods, told: list[str]) -> None:
    pods.put(raw(version=1))
    pods.put(raw(version=2))
    pods.put(raw(version=3, ready=False))
    assert told == ["node-1", "node-1"]


def test_a_malformed_pod_costs_no_other(pods: Pods) -> None:
    pods.put(raw("bad", malformed=True))
    pods.remove(raw("bad", malformed=True))
    pods.put(raw())
    assert [pod.ref.name for pod in pods.on("node-1")] == ["web"]


def test_an_old_version_that_comes_late_is_ignored(pods: Pods) -> None:
    pods.put(raw(version=5, ready=True))
    pods.put(raw(version=4, ready=False))
    assert [pod.ready for pod in pods.on("node-1")] == [True]


@pytest.mark.parametrize("how", ["told to end", "deleted"])
def test_a_pod_that_was_seen_to_end_is_gone_with_evidence(pods: Pods, how: str) -> None:
    pods.put(raw())
    if how == "deleted":
        pods.remove(raw(version=2))
    else:
        pods.put(raw(version=2, leaving=True))
    assert pods.on("node-1") == ()
    assert pods.ended("uid-web")
    pods.put(raw(version=3))
    assert pods.on("node-1") == (), "a list that is older than its end does not bring it back"


def test_a_pod_that_is_missing_from_a_list_is_gone_without_evidence(pods: Pods) -> None:
    pods.put(raw())
    pods.listed(uids=set(), version=9, namespace=None)
    assert not pods.lives("uid-web")
    assert not pods.ended("uid-web")


def test_a_list_of_another_namespace_or_an_older_one_takes_nothing(pods: Pods) -> None:
    pods.put(raw(version=10))
    pods.listed(uids=set(), version=9, namespace=None)
    pods.listed(uids=set(), version=99, namespace="other")
    assert pods.lives("uid-web")
    assert pods.covers("shop"), "a list of all namespaces covers each"


def test_a_pod_of_the_same_name_replaces_the_one_before(pods: Pods) -> None:
    pods.put(raw())
    pods.put(raw(uid="uid-2", version=2, node="node-2"))
    assert pods.on("node-1") == ()
    assert [pod.uid for pod in pods.on("node-2")] == ["uid-2"]
    assert pods.ended("uid-web")
    pods.remove(raw(version=2))
    assert pods.lives("uid-2"), "the end of the first is not that of the second"


def test_a_node_is_told_when_a_pod_gets_there(pods: Pods, told: list[str]) -> None:
    pods.put(raw(node=""))
    assert told == []
    pods.put(raw(version=2))
    assert told == ["node-1"]
    assert pods.place("node-1").ip == "172.30.0.11"


def test_a_node_without_pods_is_forgotten_when_asked_to(pods: Pods) -> None:
    pods.put(raw())
    pods.forget_if_empty("node-1")
    assert pods.nodes() == {"node-1"}
    pods.remove(raw(version=2))
    pods.forget_if_empty("node-1")
    assert pods.nodes() == frozenset()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def brake(self) -> Brake:
        return Brake(clock=lambda: self.now)


def missing(count: int, node: str = "a") -> dict[str, str]:
    return {f"{node}-{number}": "shop" for number in range(count)}


def test_a_few_missing_pods_go_at_once() -> None:
    brake = Clock().brake()
    brake.missing(node="a", pods=missing(FREE), held=FREE)
    assert not any(map(brake.holds, missing(FREE)))


@pytest.mark.parametrize("namespace", ["shop", None])
def test_many_missing_pods_need_two_lists_more_some_time_apart(namespace: str | None) -> None:
    clock = Clock()
    brake = clock.brake()
    many = missing(50)

    def look() -> bool:
        brake.missing(node="a", pods=many, held=100)
        return any(map(brake.holds, many))

    assert look()
    brake.listed(namespace)
    brake.listed(namespace)
    assert look(), "a second list at once tells nothing new"
    clock.now += CONFIRM_S
    assert look(), "time without a second list confirms nothing"
    brake.listed(namespace)
    assert not look()


def test_lists_before_a_pod_is_missed_confirm_nothing() -> None:
    clock = Clock()
    brake = clock.brake()
    brake.listed(None)
    clock.now += 10 * CONFIRM_S
    brake.missing(node="a", pods=missing(50), held=100)
    brake.listed(None)
    assert brake.holds("a-0")


def test_lists_of_another_namespace_confirm_nothing() -> None:
    clock = Clock()
    brake = clock.brake()
    brake.missing(node="a", pods=missing(50), held=100)
    for _ in range(3):
        brake.listed("blog")
        clock.now += CONFIRM_S
    assert brake.holds("a-0")


def test_a_small_share_of_many_goes_at_once_and_nodes_count_together() -> None:
    brake = Clock().brake()
    brake.missing(node="a", pods=missing(10, "a"), held=100)
    assert not brake.holds("a-0")
    brake.missing(node="b", pods=missing(90, "b"), held=100)
    assert brake.holds("a-0")


def test_what_went_counts_for_a_while() -> None:
    clock = Clock()
    brake = clock.brake()
    brake.missing(node="a", pods=missing(FREE, "a"), held=FREE)
    brake.missing(node="a", pods={}, held=0)
    brake.forget("a")
    brake.missing(node="b", pods=missing(1, "b"), held=1)
    assert brake.holds("b-0")
    clock.now += REMEMBER_S
    brake.missing(node="b", pods=missing(1, "b"), held=1)
    assert not brake.holds("b-0")


def test_a_node_that_is_gone_is_no_part_of_what_a_share_is_taken_of() -> None:
    brake = Clock().brake()
    brake.missing(node="a", pods={}, held=1000)
    brake.missing(node="b", pods=missing(50, "b"), held=50)
    assert not brake.holds("b-0")
    brake.forget("a")
    assert brake.holds("b-0")


def test_a_pod_that_is_seen_must_be_missed_anew() -> None:
    clock = Clock()
    brake = clock.brake()
    brake.missing(node="a", pods=missing(50), held=100)
    brake.listed(None)
    for uid in missing(50):
        brake.seen(uid)
    clock.now += CONFIRM_S
    brake.missing(node="a", pods=missing(50), held=100)
    brake.listed(None)
    assert brake.holds("a-0")


def test_a_pod_is_told_of_once_when_it_comes_and_once_when_it_is_gone() -> None:
    told: list[str] = []
    pods = Pods(parse=parse, changed=lambda _: None)
    pods.subscribe(told.append)
    names = ("ends", "deleted", "replaced", "missing", "stays")
    for name in names:
        pods.put(raw(name))
        pods.put(raw(name, version=2, ready=False))
    assert told == [f"uid-{name}" for name in names]
    told.clear()
    pods.put(raw("ends", version=3, leaving=True))
    pods.put(raw("ends", version=4, leaving=True))
    pods.remove(raw("deleted", version=3))
    pods.put(raw("replaced", version=3, uid="uid-successor"))
    pods.listed(uids={"uid-successor", "uid-stays"}, version=9, namespace=None)
    assert told == ["uid-ends", "uid-deleted", "uid-replaced", "uid-successor", "uid-missing"]


def mark(name: str, *, cluster: str = "c", namespace: str = "shop") -> PodMark:
    return PodMark(cluster=cluster, namespace=namespace, uid=f"uid-{name}")


def gone(pods: Pods, *marks: PodMark, by: Gone | None = None, edge: str = "edge") -> GonePods:
    ref = ObjectRef(namespace="shop", name=edge)
    return (by or Gone(pods=pods)).of(ref, marks=marks, cluster="c")


def test_of_the_pods_that_instances_name_those_are_gone_that_ended_or_that_a_list_lacks(
    pods: Pods,
) -> None:
    pods.put(raw("lives"))
    pods.put(raw("ended"))
    pods.remove(raw("ended"))
    marks = [mark("lives"), mark("ended"), mark("unseen")]
    assert gone(pods, *marks) == GonePods(ended=frozenset({"uid-ended"})), "nothing was listed"
    pods.listed(uids={"uid-lives"}, version=1, namespace="shop")
    assert gone(pods, *marks) == GonePods(ended=frozenset({"uid-ended", "uid-unseen"}))


def marks_of(*names: str) -> frozenset[str]:
    return frozenset(mark(name).uid for name in names)


UNSEEN = [f"unseen-{number}" for number in range(2 * FREE)]


def test_many_that_a_list_lacks_are_doubted(pods: Pods) -> None:
    pods.put(raw("lives"))
    pods.listed(uids={"uid-lives"}, version=1, namespace="shop")
    names = UNSEEN[: FREE + 1]
    assert gone(pods, *map(mark, ["lives", *names])) == GonePods(missing=marks_of(*names))


def test_a_few_that_one_list_lacks_after_the_other_are_doubted_too(pods: Pods) -> None:
    """The registrar's brake holds them: those whom Consul calls healthy must be served on."""
    for name in UNSEEN:
        pods.put(raw(name))
    clock = Clock()
    known = Gone(pods=pods, clock=lambda: clock.now)
    first, then = UNSEEN[:FREE], UNSEEN[FREE:]
    pods.listed(uids=marks_of(*then), version=2, namespace=None)
    assert gone(pods, *map(mark, UNSEEN), by=known) == GonePods(ended=marks_of(*first))
    clock.now += 60
    pods.listed(uids=set(), version=3, namespace=None)
    assert gone(pods, *map(mark, then), by=known) == GonePods(missing=marks_of(*then))
    assert gone(pods, *map(mark, then), by=known, edge="other") == GonePods(
        ended=marks_of(*then)
    ), "what is missing is counted of each LoadBalancer's own"
    clock.now += REMEMBER_S
    assert gone(pods, *map(mark, then), by=known) == GonePods(ended=marks_of(*then))


def test_what_two_lists_more_lack_is_gone_and_whoever_is_seen_again_is_not(pods: Pods) -> None:
    clock = Clock()
    known = Gone(pods=pods, clock=lambda: clock.now)
    assert not known.misses
    pods.listed(uids=set(), version=1, namespace="shop")
    assert gone(pods, *map(mark, UNSEEN), by=known).missing == marks_of(*UNSEEN)
    assert known.misses
    pods.put(raw(UNSEEN[0], version=9))
    for version in (2, 3):
        clock.now += CONFIRM_S
        pods.listed(uids=set(), version=version, namespace="shop")
    found = gone(pods, *map(mark, UNSEEN), by=known)
    assert found == GonePods(ended=marks_of(*UNSEEN[1:]))


def test_a_load_balancer_of_which_nobody_asks_any_more_is_forgotten(pods: Pods) -> None:
    clock = Clock()
    known = Gone(pods=pods, clock=lambda: clock.now)
    pods.listed(uids=set(), version=1, namespace="shop")
    gone(pods, *map(mark, UNSEEN), by=known)
    clock.now += REMEMBER_S
    assert not known.misses


def test_pods_of_other_clusters_and_of_namespaces_that_are_not_listed_can_not_be_known(
    pods: Pods,
) -> None:
    pods.listed(uids=set(), version=1, namespace="shop")
    assert gone(pods, mark("a", cluster="other"), mark("b", namespace="blog")) == NONE_GONE
