"""The loop from Pods to registrations, against a registry that keeps them in memory."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops import brake, registrar
from consul_nginx.loops.namespaces import Namespaces
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.registrar import Registrar
from consul_nginx.loops.wishes import Wishes
from consul_nginx.model.registration import (
    Changes,
    Held,
    Mode,
    Owner,
    Place,
    RegistrationSettings,
)
from consul_nginx.registrar.pod import parse_pod
from unit.test_difference import registration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consul_nginx.registrar.outcome import Told

NODE = "node-1"


def pod_raw(
    name: str = "web-1",
    *,
    version: int = 1,
    ready: bool = True,
    node: str = NODE,
    **annotations: str,
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-22T07:00:00Z",
            "annotations": annotations or {"SERVICE_NAME": "web"},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "image": "web:1", "ports": [{"containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
            "hostIP": "172.30.0.11",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


class Registry:
    """Consul's part: keeps what is written, and can be away."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Held]] = {}
        self.away = False
        self.refuses: dict[str, str] = {}
        self.reads = self.applied = self.writes = 0
        self.tidied: list[str] = []

    async def tidy(self, place: Place) -> bool:
        self.tidied.append(place.node)
        return True

    async def read(self, place: Place) -> Mapping[str, Held]:
        if self.away:
            raise ConsulUnavailable("away")
        self.reads += 1
        return dict(self.held.get(place.node, {}))

    async def apply(self, place: Place, changes: Changes) -> Mapping[str, str]:
        self.applied += 1
        held = self.held.setdefault(place.node, {})
        refused = {}
        for change in (*changes.register, *changes.readiness):
            after = change.after
            if after.content.id in self.refuses:
                refused[after.content.id] = self.refuses[after.content.id]
                continue
            self.writes += 1
            held[after.content.id] = Held(
                content=after.content, owner=after.owner, ready=after.ready, version=self.writes
            )
        for item in changes.remove:
            self.writes += 1
            del held[item.content.id]
        return refused


class Lead:
    leading = True

    def require(self) -> None:
        if not self.leading:
            raise NotLeading("another leads")

    async def confirm(self) -> None:
        self.require()


class World:
    """A registrar with everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = RegistrationSettings(cluster="prod", **settings)
        self.changed: list[str] = []
        self.told: list[Told] = []
        self.pods = Pods(parse=parse_pod, changed=self.changed.append)
        self.namespaces = Namespaces()
        self.registry = Registry()
        self.lead = Lead()
        self.registrar = Registrar(
            settings=self.settings,
            pods=self.pods,
            wishes=Wishes(settings=self.settings, pods=self.pods, namespaces=self.namespaces),
            registry=self.registry,
            lead=self.lead,
            tell=self.told.append,
        )

    def listed(self, *raws: dict[str, Any]) -> None:
        for raw in raws:
            self.pods.put(raw)
        uids = {raw["metadata"]["uid"] for raw in raws}
        self.pods.listed(uids=uids, version=100, namespace=None)

    async def reconcile(self, node: str = NODE, *, due: bool = True) -> float | None:
        """``due``: as the comparison and the drift watch ask, not as an event of a Pod."""
        if due:
            self.registrar.due(node)
        return await self.registrar.reconcile(node)

    def names(self, node: str = NODE) -> dict[str, bool | None]:
        return {
            f"{held.content.name}@{held.content.address}:{held.content.port}": held.ready
            for held in self.registry.held.get(node, {}).values()
        }

    def hold(
        self, pod: str, *, cluster: str = "prod", marked: bool = True, node: str = NODE
    ) -> str:
        """Something that Consul holds already."""
        owner = Owner(cluster=cluster, namespace="shop", pod=pod, pod_uid=f"uid-{pod}")
        identity = f"{cluster}:shop/{pod}:8080"
        item = registration(identity, owner=owner)
        held = Held(content=item.content, owner=owner if marked else None, ready=True)
        self.registry.held.setdefault(node, {})[identity] = held
        return identity


@pytest.fixture
def world() -> World:
    return World()


async def test_a_pod_is_registered_with_its_readiness_and_followed(world: World) -> None:
    world.listed(pod_raw(ready=False))
    await world.reconcile()
    assert world.names() == {"web@10.0.0.1:8080": False}
    world.pods.put(pod_raw(version=2, ready=True))
    await world.reconcile()
    assert world.names() == {"web@10.0.0.1:8080": True}


async def test_at_rest_nothing_is_written(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile()
    writes = world.registry.writes
    await world.reconcile()
    assert world.registry.writes == writes
    assert world.registry.applied == 1, "not even asked whether it could be"


async def test_events_that_change_nothing_for_us_cost_consul_nothing(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile(due=False)
    other = pod_raw("other")
    other["metadata"]["annotations"] = {}
    for raw in (other, pod_raw(version=2)):
        world.pods.put(raw)
        await world.reconcile(due=False)
    assert world.registry.reads == 1
    world.pods.put(pod_raw(version=3, ready=False))
    await world.reconcile(due=False)
    assert world.names() == {"web@10.0.0.1:8080": False}


async def test_what_failed_is_done_although_nothing_else_happens(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile(due=False)
    world.pods.put(pod_raw(version=2, ready=False))
    world.registry.away = True
    with pytest.raises(ConsulUnavailable):
        await world.reconcile(due=False)
    world.registry.away = False
    await world.reconcile(due=False)
    assert world.names() == {"web@10.0.0.1:8080": False}


async def test_a_pod_that_was_told_to_end_is_removed_at_once(world: World) -> None:
    pods = [pod_raw(f"web-{number}") for number in range(3)]
    world.listed(*pods)
    await world.reconcile()
    for raw in pods:
        raw["metadata"] |= {"deletionTimestamp": "2026-11-22T08:00:00Z", "resourceVersion": "9"}
        world.pods.put(raw)
    assert await world.reconcile() is None
    assert world.names() == {}


async def test_a_node_without_pods_and_registrations_leaves_nothing_in_consul(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile()
    world.pods.remove(pod_raw(version=2))
    await world.reconcile()
    assert world.registry.tidied == [NODE]


async def test_what_others_have_on_a_node_keeps_it(world: World) -> None:
    world.hold("db", marked=False)
    world.listed()
    await world.reconcile()
    assert world.registry.tidied == []


async def test_many_pods_that_merely_vanished_stay_until_it_is_confirmed(world: World) -> None:
    for number in range(20):
        world.hold(f"old-{number}")
    world.listed()
    assert await world.reconcile() is not None
    assert len(world.registry.held[NODE]) == 20
    assert world.registrar.states()["missed"] == 20


async def test_a_few_pods_that_vanished_are_removed(world: World) -> None:
    world.hold("old")
    world.listed()
    assert await world.reconcile() is None
    assert world.registry.held[NODE] == {}


async def test_a_node_that_is_gone_does_not_weaken_the_brake(world: World) -> None:
    pods = [pod_raw(f"web-{number}", node="gone") for number in range(100)]
    world.listed(*pods)
    await world.reconcile("gone")
    for raw in pods:
        world.pods.remove(raw)
    await world.reconcile("gone")
    for number in range(20):
        world.hold(f"old-{number}")
    assert await world.reconcile() is not None
    assert len(world.registry.held[NODE]) == 20


async def test_a_few_pods_of_each_of_many_nodes_are_many(world: World) -> None:
    nodes = [f"node-{number}" for number in range(20)]
    for node in nodes:
        for number in range(5):
            world.hold(f"{node}-{number}", node=node)
    world.listed()
    for node in nodes:
        for _ in range(2):
            await world.reconcile(node)
    assert sum(map(len, world.registry.held.values())) == 95


async def test_the_list_of_one_namespace_confirms_nothing_about_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "CONFIRM_S", 0.0)
    for number in range(20):
        world.hold(f"old-{number}")
    for namespace in ("shop", "blog", "shop", "blog"):
        world.pods.listed(uids=set(), version=100, namespace=namespace)
        assert await world.reconcile() is not None
    world.pods.listed(uids=set(), version=101, namespace="shop")
    assert await world.reconcile() is None


async def test_nothing_is_removed_of_a_namespace_that_was_not_listed(world: World) -> None:
    identity = world.hold("old")
    world.pods.listed(uids=set(), version=100, namespace="blog")
    await world.reconcile()
    assert identity in world.registry.held[NODE]


async def test_what_is_not_ours_is_never_touched(world: World) -> None:
    others = world.hold("web-1", cluster="other")
    unmarked = world.hold("web-2", marked=False)
    world.listed(pod_raw("web-2"))
    await world.reconcile()
    assert {others, unmarked} == set(world.registry.held[NODE])
    assert [warning.reason for warning in world.told[-1].warnings] == ["IDTaken"]
    assert world.registrar.states()["refused"] == 1


async def test_a_pod_without_annotations_is_registered_where_all_are() -> None:
    world = World(all_pods_in={"registered": "yes"})
    raw = pod_raw()
    raw["metadata"]["annotations"] = {}
    world.listed(raw)
    await world.reconcile()
    assert world.names() == {}
    world.namespaces.replace([{"metadata": {"name": "shop", "labels": {"registered": "yes"}}}])
    await world.reconcile()
    assert world.names() == {"web@10.0.0.1:8080": True}


async def test_nothing_is_removed_while_labels_of_namespaces_are_unknown() -> None:
    world = World(all_pods_in={"registered": "yes"})
    identity = world.hold("web-1")
    world.listed()
    await world.reconcile()
    assert identity in world.registry.held[NODE]


async def test_what_consul_refuses_costs_only_that_port(world: World) -> None:
    raw = pod_raw(SERVICE_8080_NAME="web", SERVICE_9090_NAME="admin")
    raw["spec"]["containers"][0]["ports"].append({"containerPort": 9090})
    world.registry.refuses = {"prod:shop/web-1:9090": "Permission denied"}
    world.listed(raw)
    await world.reconcile()
    assert world.names() == {"web@10.0.0.1:8080": True}
    assert "Permission denied" in world.told[-1].warnings[0].message
    assert world.registrar.states()["refused"] == 1


async def test_consul_away_is_told_once_and_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.listed(pod_raw())
    world.registry.away = True
    for _ in range(5):
        with pytest.raises(ConsulUnavailable):
            await world.reconcile()
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    assert world.registrar.states()["pending"] == 1
    world.registry.away = False
    await world.reconcile()
    assert world.registrar.states() == {"registered": 1, "refused": 0, "missed": 0, "pending": 0}


async def test_an_agent_without_anything_of_ours_is_left_alone_when_it_does_not_answer() -> None:
    world = World(mode=Mode.AGENT)
    raw = pod_raw()
    raw["metadata"]["annotations"] = {}
    world.listed(raw)
    world.registry.away = True
    assert await world.reconcile() is None


async def test_a_node_that_left_with_its_agent_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(mode=Mode.AGENT)
    world.listed(pod_raw(), pod_raw("old", node="node-2", SERVICE_IGNORE="true"))
    await world.reconcile()
    await world.reconcile("node-2")
    world.registry.away = True
    world.pods.remove(pod_raw(version=2))
    world.pods.remove(pod_raw("old", version=2, node="node-2"))
    assert await world.reconcile("node-2") is None, "it has nothing that could be removed"
    assert world.pods.nodes() == {NODE}
    with pytest.raises(ConsulUnavailable):
        await world.reconcile()
    monkeypatch.setattr(registrar, "DESERTED_S", 0.0)
    assert await world.reconcile() is None
    assert world.pods.nodes() == frozenset()
    assert world.registrar.settled == {}


async def test_a_standby_reads_and_writes_nothing(world: World) -> None:
    world.listed(pod_raw())
    world.lead.leading = False
    with pytest.raises(NotLeading):
        await world.reconcile()
    assert world.registry.held == {}


async def test_what_somebody_changed_in_consul_is_written_again(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile()
    ((identity, held),) = world.registry.held[NODE].items()
    changed = dataclasses.replace(held, content=dataclasses.replace(held.content, port=1))
    world.registry.held[NODE][identity] = changed
    await world.reconcile()
    assert world.names() == {"web@10.0.0.1:8080": True}


async def test_a_pod_is_told_once_what_it_is_called_in_consul(world: World) -> None:
    world.listed(pod_raw())
    await world.reconcile()
    await world.reconcile()
    assert [[item.content.name for item in told.registered] for told in world.told] == [["web"]]
