"""The work queue's and the store's promises."""

from __future__ import annotations

import asyncio

import pytest

from consul_nginx.loops.queue import LONGEST_BACKOFF_S, WorkQueue
from consul_nginx.loops.resources import Listed, Resources
from consul_nginx.loops.store import Store
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import load_balancer_raw, mapping_raw


async def test_a_waiting_key_is_not_queued_twice():
    queue = WorkQueue(name="test")
    queue.add("a")
    queue.add("a")
    assert queue.depth == 1


async def test_a_key_added_while_it_is_worked_on_is_worked_on_once_more_afterwards():
    queue = WorkQueue(name="test")
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert queue.depth == 0
    queue.done(key)
    assert queue.depth == 1


async def test_failures_back_off_per_key_up_to_a_bound():
    queue = WorkQueue(name="test")
    delays = []
    for _ in range(20):
        queue.add("a")
        delays.append(queue.retry(await queue.get()))
    assert delays[0] <= 0.05
    assert LONGEST_BACKOFF_S / 2 <= delays[-1] <= LONGEST_BACKOFF_S
    queue.close()


async def test_a_delayed_key_comes_at_its_earliest_time():
    queue = WorkQueue(name="test")
    queue.add_after("a", delay=60)
    queue.add_after("a", delay=0.001)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"
    queue.close()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def store(changes):
    return Store(parse=parse_service_mapping, changed=lambda *change: changes.append(change))


def raw(version, name="web", **more):
    return mapping_raw(name, meta={"resourceVersion": str(version), **more})


def test_an_older_version_changes_nothing(store, changes):
    store.put(raw(5))
    store.put(raw(4))
    assert len(changes) == 1


def test_a_list_reaps_what_vanished_unseen(store):
    store.put(raw(5))
    store.replace(items=[raw(6, "other")], version=7)
    assert store.refs() == {ObjectRef(namespace="shop", name="other")}


def test_a_list_does_not_reap_what_is_newer_than_it(store):
    store.put(raw(9))
    store.replace(items=[], version=7)
    assert len(store.refs()) == 1


def test_the_deletion_of_an_object_spares_its_successor_of_the_same_name(store):
    store.put(raw(9, uid="new"))
    store.remove(raw(10, uid="old"))
    assert len(store.refs()) == 1


def test_a_late_version_does_not_bring_a_deleted_object_back(store):
    store.put(raw(5))
    store.remove(raw(7))
    store.put(raw(6))
    store.replace(items=[raw(6)], version=6)
    assert store.refs() == frozenset()


def test_an_object_on_its_way_out_counts_as_gone(store):
    store.put(raw(5))
    store.put(raw(6, deletionTimestamp="2026-11-22T07:00:00Z"))
    assert store.refs() == frozenset()


def test_a_status_only_change_concerns_nobody():
    concerned = []
    resources = Resources(concerns=concerned.append)
    resources.mappings.put(raw(5))
    resources.mappings.put({**raw(6), "status": {"conditions": []}})
    assert concerned == [ObjectRef(namespace="shop", name="edge")]


def test_a_mapping_that_moves_concerns_both_load_balancers():
    concerned = []
    resources = Resources(concerns=concerned.append)
    resources.mappings.put(raw(5))
    moved = raw(6, generation=2)
    moved["spec"]["loadBalancerRef"]["name"] = "inner"
    resources.mappings.put(moved)
    assert {ref.name for ref in concerned[1:]} == {"edge", "inner"}


def test_an_invalid_mapping_still_concerns_the_load_balancer_it_names():
    concerned = []
    resources = Resources(concerns=concerned.append)
    bad = raw(5)
    bad["spec"]["hostnames"] = ["a;b"]
    resources.mappings.put(bad)
    assert [ref.name for ref in concerned] == ["edge"]
    assert len(resources.mappings_of(concerned[0]).invalid) == 1


def test_labels_of_namespaces_concern_who_chooses_by_them_now_or_may_have_before():
    concerned = []
    resources = Resources(concerns=concerned.append)
    chosen = {"from": "Selector", "matchLabels": {"team": "web"}}
    listener = {"name": "http", "port": 80}
    resources.load_balancers.put(balancer("same"))
    resources.load_balancers.put(balancer("selector", allowedNamespaces=chosen))
    own = [{**listener, "allowedNamespaces": chosen}]
    resources.load_balancers.put(balancer("listener", listeners=own))
    resources.load_balancers.put(balancer("invalid", listeners=[{**listener, "port": 0}]))
    concerned.clear()
    resources.namespaces.put({"metadata": {"name": "blog", "labels": {"team": "web"}}})
    assert {ref.name for ref in concerned} == {"selector", "listener", "invalid"}


def balancer(name, **spec):
    made = load_balancer_raw(name, **spec)
    return {**made, "metadata": {**made["metadata"], "resourceVersion": "5"}}


def lists(*mappings, load_balancers=(), version=9):
    return {
        "servicemappings": Listed(items=tuple(mappings), version=version),
        "loadbalancers": Listed(items=tuple(load_balancers), version=version),
    }


def test_nothing_is_decided_before_a_namespace_is_listed():
    resources = Resources(concerns=lambda _: None)
    assert not resources.synced
    resources.take(namespace="blog", lists=lists())
    assert resources.synced
    assert resources.covers("blog")
    assert not resources.covers("shop")


def test_a_list_of_one_namespace_reaps_nothing_of_another():
    resources = Resources(concerns=lambda _: None)
    resources.take(namespace="shop", lists=lists(raw(5)))
    resources.take(namespace="blog", lists=lists())
    assert len(resources.mappings.refs()) == 1
    resources.take(namespace="shop", lists=lists())
    assert resources.mappings.refs() == frozenset()
