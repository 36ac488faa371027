"""The whole loop under everything that can happen to it, in every order.

A machine lives through a history of Pods, of two operators that watch them (badly) and take turns
in leading, and of a Consul that others write to as well and that may be away. Every request may
come before or after anything else: a reconcile is taken one request further at a time.
"""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from consul_nginx.consul.errors import ConsulConflict, ConsulError, ConsulUnavailable
from consul_nginx.kube.errors import NotLeading
from consul_nginx.loops import brake
from consul_nginx.loops.drift import drifted, excess
from consul_nginx.loops.namespaces import Namespaces
from consul_nginx.loops.pods import Pods
from consul_nginx.loops.registrar import LOOK_AGAIN_S, Registrar
from consul_nginx.loops.wishes import Wishes
from consul_nginx.model.registration import (
    Change,
    Changes,
    Held,
    Mode,
    Place,
    Registration,
    RegistrationSettings,
)
from consul_nginx.registrar.difference import claims
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.registrar.wanted import wanted
from unit.test_registrar import pod_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping

    from consul_nginx.model.registration import Pod

NODES = ("node-1", "node-2", "node-3")
NAMES = tuple(f"web-{number}" for number in range(8))
ANNOTATIONS: tuple[dict[str, str], ...] = (
    {"SERVICE_NAME": "web"},
    {"SERVICE_NAME": "web", "SERVICE_TAGS": "blue"},
    {"SERVICE_NAME": "web", "SERVICE_ID": "shared"},
    {},
)
FREE = 1

Raw = dict[str, Any]


@types.coroutine
def request() -> Generator[None]:
    """A request is under way: anything may happen before it arrives."""
    yield


class Kubernetes:
    """What is true of Pods, and everything that ever was."""

    def __init__(self) -> None:
        self.version = 0
        self.pods: dict[str, Raw] = {}
        self.ended: set[str] = set()
        self.watched: list[Callable[[str, Raw], None]] = []

    def create(self, name: str, *, node: str, **annotations: str) -> None:
        raw = pod_raw(name, node=node, ready=False)
        raw["metadata"] |= {
            "uid": f"{name}-{self.version}",
            "creationTimestamp": f"2026-11-22T07:{self.version:06}",
            "annotations": annotations,
        }
        self._write(raw)

    def change(self, name: str, change: Callable[[Raw], None]) -> None:
        before = self.pods[name]
        raw = {key: dict(part) for key, part in before.items()}
        change(raw)
        self._write(raw)

    def delete(self, name: str) -> None:
        raw = self.pods.pop(name)
        self.ended.add(raw["metadata"]["uid"])
        self.version += 1
        for tell in self.watched:
            tell("DELETED", raw)

    def on(self, node: str) -> list[Pod]:
        found = (parse_pod(raw) for raw in self.pods.values())
        return [pod for pod in found if pod.node == node and not pod.leaving]

    def _write(self, raw: Raw) -> None:
        self.version += 1
        metadata = raw["metadata"]
        metadata["resourceVersion"] = str(self.version)
        self.pods[metadata["name"]] = raw
        if "deletionTimestamp" in metadata:
            self.ended.add(metadata["uid"])
        for tell in self.watched:
            tell("MODIFIED", raw)


class Consul:
    """What it holds by node and ID. With ``fences``, every write names the version it replaces."""

    def __init__(self, *, fences: bool) -> None:
        self.fences = fences
        self.index = 0
        self.away = self.loses_answers = False
        self.refused: set[str] = set()
        self.nodes: dict[str, dict[str, Held]] = {node: {} for node in NODES}

    def put(self, node: str, held: Held) -> None:
        self.index += 1
        self.nodes[node][held.content.id] = dataclasses.replace(
            held, version=self.index, ready_version=self.index
        )

    def drop(self, node: str, identity: str) -> None:
        self.index += 1
        del self.nodes[node][identity]

    def ours(self) -> list[tuple[str, Held]]:
        return [
            (node, held)
            for node, found in self.nodes.items()
            for held in found.values()
            if held.owner is not None and held.owner.cluster == "prod"
        ]


class Lead:
    leading = False

    def require(self) -> None:
        if not self.leading:
            raise NotLeading("another leads")

    async def confirm(self) -> None:
        self.require()


class Registry:
    """One operator's way to Consul."""

    def __init__(self, *, consul: Consul, lead: Lead, removed: Callable[[Held], None]) -> None:
        self.consul = consul
        self.lead = lead
        self.removed = removed

    async def read(self, place: Place) -> Mapping[str, Held]:
        await request()
        self._answer()
        return dict(self.consul.nodes[place.node])

    async def apply(self, place: Place, changes: Changes) -> Mapping[str, str]:
        refused: dict[str, str] = {}
        conflicts: list[str] = []
        writes = (
            *((self._register, change) for change in changes.register),
            *((self._readiness, change) for change in changes.readiness),
            *((self._remove, held) for held in changes.remove),
        )
        for write, item in writes:
            self.lead.require()
            await request()
            if not self.consul.loses_answers:
                self._answer()
            content = item.content if isinstance(item, Held) else item.after.content
            if content.id in self.consul.refused:
                refused[content.id] = "Permission denied"
            elif not write(place.node, item):
                conflicts.append(content.id)
            self._answer()
        if conflicts:
            raise ConsulConflict(", ".join(conflicts))
        return refused

    async def tidy(self, place: Place) -> bool:
        await request()
        self._answer()
        return not self.consul.nodes[place.node]

    def _answer(self) -> None:
        if self.consul.away or self.consul.loses_answers:
            raise ConsulUnavailable("away")

    def _now(self, node: str, identity: str) -> Held | None:
        return self.consul.nodes[node].get(identity)

    def _register(self, node: str, change: Change) -> bool:
        after, now = change.after, self._now(node, change.after.content.id)
        if self.consul.fences and _version(now) != _version(change.before):
            return False
        self._must_be_ours(now)
        self.consul.put(node, Held(content=after.content, owner=after.owner, ready=after.ready))
        return True

    def _readiness(self, node: str, change: Change) -> bool:
        now = self._now(node, change.after.content.id)
        if now is None or (self.consul.fences and _version(now) != _version(change.before)):
            return False
        self._must_be_ours(now)
        self.consul.put(node, dataclasses.replace(now, ready=change.after.ready))
        return True

    def _remove(self, node: str, held: Held) -> bool:
        now = self._now(node, held.content.id)
        if now is None:
            return not self.consul.fences
        if self.consul.fences and now.version != held.version:
            return False
        if now.owner != held.owner:
            return False
        self._must_be_ours(now)
        self.removed(now)
        self.consul.drop(node, held.content.id)
        return True

    @staticmethod
    def _must_be_ours(now: Held | None) -> None:
        assert now is None or (now.owner is not None and now.owner.cluster == "prod"), (
            "what isn't marked ours is touched"
        )


def _version(held: Held | None) -> int:
    return 0 if held is None else held.version


class Operator:
    """One replica: what it was told of Pods, and its reconciles that are under way."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        consul: Consul,
        settings: RegistrationSettings,
        clock: Callable[[], float],
    ) -> None:
        self.kubernetes = kubernetes
        self.events: list[tuple[str, Raw]] = []
        self.dirty: set[str] = set()
        self.flights: dict[str, Coroutine[Any, Any, float | None]] = {}
        self.is_listed = False
        self.heard_of_the_end: set[str] = set()
        self.lead = Lead()
        self.lacking: dict[str, list[float]] = {}
        self.unproven: dict[str, float] = {}
        self.clock = clock
        self.pods = Pods(parse=parse_pod, changed=self.dirty.add)
        self.wishes = Wishes(settings=settings, pods=self.pods, namespaces=Namespaces())
        self.registry = Registry(consul=consul, lead=self.lead, removed=self._removed)
        self.registrar = Registrar(
            settings=settings,
            pods=self.pods,
            wishes=self.wishes,
            registry=self.registry,
            lead=self.lead,
            tell=lambda _: None,
            clock=clock,
        )
        self.most_held = 0

    def feed(self, event: str, raw: Raw) -> None:
        if event == "DELETED" or "deletionTimestamp" in raw["metadata"]:
            self.heard_of_the_end.add(raw["metadata"]["uid"])
        if event == "DELETED":
            self.pods.remove(raw)
        else:
            self.pods.put(raw)
        self._see(raw)

    def take_list(self, *, lacking: frozenset[str] = frozenset()) -> None:
        raws = [raw for name, raw in self.kubernetes.pods.items() if name not in lacking]
        for raw in raws:
            self.pods.put(raw)
            self._see(raw)
        uids = {raw["metadata"]["uid"] for raw in raws}
        for name, raw in self.kubernetes.pods.items():
            if name in lacking:
                self.lacking.setdefault(raw["metadata"]["uid"], []).append(self.clock())
        self.pods.listed(uids=uids, version=self.kubernetes.version, namespace=None)
        self.is_listed = True

    def begin(self, node: str) -> None:
        self.dirty.discard(node)
        self.flights[node] = self.registrar.reconcile(node)
        self.step(node)

    def step(self, node: str) -> None:
        """One request further; the queue has it done again when it failed."""
        try:
            self.flights[node].send(None)
        except (StopIteration, NotLeading):
            del self.flights[node]
        except ConsulError:
            del self.flights[node]
            self.dirty.add(node)

    def _see(self, raw: Raw) -> None:
        """Whatever lists lacked it before, it is there now."""
        if self.pods.lives(raw["metadata"]["uid"]):
            self.lacking.pop(raw["metadata"]["uid"], None)

    def led_anew(self) -> None:
        self.registrar.forget_all()
        self.wishes.forget_all()

    def _removed(self, held: Held) -> None:
        assert held.owner is not None
        uid = held.owner.pod_uid
        proven = self.pods.lives(uid) or self.pods.ended(uid) or uid in self.kubernetes.ended
        lists = self.lacking.get(uid, [self.clock()])
        if not proven and lists[-1] - lists[0] < brake.CONFIRM_S:
            self.unproven[uid] = self.clock()


class Machine(RuleBasedStateMachine):
    """With a Consul that fences every write, as the catalog does."""

    mode = Mode.CATALOG

    def __init__(self) -> None:
        super().__init__()
        patch = mock.patch.object(brake, "FREE", FREE)
        patch.start()
        self.unpatch = patch.stop
        self.now = 0.0
        self.settings = RegistrationSettings(cluster="prod", mode=self.mode)
        self.kubernetes = Kubernetes()
        self.consul = Consul(fences=self.mode is Mode.CATALOG)
        self.others: dict[tuple[str, str], Held] = {}
        self.operators = [self._operator(), self._operator()]

    def _operator(self) -> Operator:
        operator = Operator(
            kubernetes=self.kubernetes,
            consul=self.consul,
            settings=self.settings,
            clock=lambda: self.now,
        )
        self.kubernetes.watched.append(lambda event, raw: operator.events.append((event, raw)))
        return operator

    @initialize(names=st.just(set(NAMES)) | st.sets(st.sampled_from(NAMES)))
    def begin_at_rest(self, names: set[str]) -> None:
        """Every node has a Pod of its agent's: with it the agent is known."""
        for node in NODES:
            self.kubernetes.create(f"system-{node}", node=node)
        for position, name in enumerate(sorted(names)):
            self.create(name, NODES[position % len(NODES)], ANNOTATIONS[0])
        self.come_to_rest()

    # Pods

    @rule(name=st.sampled_from(NAMES), node=st.sampled_from(NODES),
          annotations=st.sampled_from(ANNOTATIONS))  # fmt: skip
    def create(self, name: str, node: str, annotations: dict[str, str]) -> None:
        if name not in self.kubernetes.pods:
            self.kubernetes.create(name, node=node, **annotations)

    @rule(name=st.sampled_from(NAMES), ready=st.booleans())
    def turn_ready(self, name: str, ready: bool) -> None:
        def change(raw: Raw) -> None:
            raw["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]

        if name in self.kubernetes.pods:
            self.kubernetes.change(name, change)

    @rule(name=st.sampled_from(NAMES), annotations=st.sampled_from(ANNOTATIONS))
    def annotate(self, name: str, annotations: dict[str, str]) -> None:
        if name in self.kubernetes.pods:
            self.kubernetes.change(
                name, lambda raw: raw["metadata"].update(annotations=annotations)
            )

    @rule(name=st.sampled_from(NAMES))
    def tell_to_end(self, name: str) -> None:
        def change(raw: Raw) -> None:
            raw["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z"

        if name in self.kubernetes.pods:
            self.kubernetes.change(name, change)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.kubernetes.pods:
            self.kubernetes.delete(name)

    # What operators see of them

    @rule(which=st.integers(0, 1), positions=st.lists(st.integers(0, 100), min_size=1),
          again=st.booleans())  # fmt: skip
    def hear(self, which: int, positions: list[int], again: bool) -> None:
        """Late, in another order, or twice."""
        operator = self.operators[which]
        for position in positions[: len(operator.events)]:
            event = operator.events[position % len(operator.events)]
            operator.feed(*event)
            if not again:
                operator.events.remove(event)

    @rule(which=st.integers(0, 1))
    def hear_all(self, which: int) -> None:
        events, self.operators[which].events = self.operators[which].events, []
        for event in events:
            self.operators[which].feed(*event)

    @rule(which=st.integers(0, 1))
    def miss_all(self, which: int) -> None:
        """The watch broke."""
        self.operators[which].events.clear()

    @rule(which=st.integers(0, 1))
    def list_all(self, which: int) -> None:
        self.operators[which].take_list()

    @rule(which=st.integers(0, 1),
          lacking=st.just(NAMES) | st.sets(st.sampled_from(NAMES), min_size=1),
          at_once=st.booleans())  # fmt: skip
    def list_some(self, which: int, lacking: Iterable[str], at_once: bool) -> None:
        self.operators[which].take_list(lacking=frozenset(lacking))
        if at_once:
            self.catch_up(which)

    # Operators

    @rule(which=st.sampled_from((None, 0, 1)))
    def lead(self, which: int | None) -> None:
        for position, operator in enumerate(self.operators):
            leading = position == which
            if leading is not operator.lead.leading:
                operator.lead.leading = leading
                operator.led_anew()
                operator.dirty |= set(NODES) if leading else set()

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        for flight in self.operators[which].flights.values():
            flight.close()
        self.operators[which] = self._operator()

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES))
    def begin(self, which: int, node: str) -> None:
        operator = self.operators[which]
        if operator.is_listed and node not in operator.flights:
            operator.begin(node)

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES), requests=st.integers(1, 12))
    def go_on(self, which: int, node: str, requests: int) -> None:
        for _ in range(requests):
            if node in self.operators[which].flights:
                self.operators[which].step(node)

    @rule(which=st.integers(0, 1))
    def catch_up(self, which: int) -> None:
        """Each node that waits is reconciled once, undisturbed."""
        operator = self.operators[which]
        for node in sorted(operator.dirty) if operator.is_listed else ():
            self.begin(which, node)
            self.go_on(which, node, 1000)

    @rule(which=st.integers(0, 1))
    def look(self, which: int) -> None:
        """Each node is compared, whether anything is news or not."""
        operator = self.operators[which]
        for node in NODES:
            operator.registrar.due(node)
        operator.dirty |= set(NODES)
        self.catch_up(which)

    @rule(seconds=st.sampled_from((1.0, LOOK_AGAIN_S, 200.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # Consul

    @rule(away=st.booleans(), loses_answers=st.booleans())
    def be_away(self, away: bool, loses_answers: bool) -> None:
        self.consul.away, self.consul.loses_answers = away, loses_answers

    @rule(identities=st.sets(st.sampled_from(["shared", *(f"prod:shop/{n}:8080" for n in NAMES)])))
    def refuse(self, identities: set[str]) -> None:
        self.consul.refused = identities

    @rule(position=st.integers(0, 100), edit=st.sampled_from(("port", "ready", "uid", "none")))
    def edit(self, position: int, edit: str) -> None:
        """Somebody changes or removes something of ours."""
        if not (found := self.consul.ours()):
            return
        node, held = found[position % len(found)]
        if edit == "none":
            self.consul.drop(node, held.content.id)
        elif edit == "ready":
            self.consul.put(node, dataclasses.replace(held, ready=None))
        elif edit == "port":
            content = dataclasses.replace(held.content, port=1)
            self.consul.put(node, dataclasses.replace(held, content=content))
        elif held.owner is not None:
            owner = dataclasses.replace(held.owner, pod_uid="made-up")
            content = dataclasses.replace(held.content, meta=owner.marks())
            self.consul.put(node, dataclasses.replace(held, content=content, owner=owner))

    @precondition(lambda self: self.consul.fences or not any(o.flights for o in self.operators))
    @rule(name=st.sampled_from(NAMES), node=st.sampled_from(NODES), marked=st.booleans())
    def register_what_is_not_ours(self, name: str, node: str, marked: bool) -> None:
        """Agents know no fences: there it isn't between a read and its write."""
        pod = parse_pod(pod_raw(name, node=node))
        (asked,) = wanted(pod=pod, settings=self.settings).registrations
        owner = dataclasses.replace(asked.owner, cluster="other") if marked else None
        identity = asked.content.id
        self.consul.put(node, Held(content=asked.content, owner=owner, ready=True))
        self.others[node, identity] = self.consul.nodes[node][identity]

    # What must hold

    @invariant()
    def what_is_not_ours_stays(self) -> None:
        for (node, identity), held in self.others.items():
            assert self.consul.nodes[node].get(identity) == held

    @invariant()
    def only_what_ended_is_evidence(self) -> None:
        for operator in self.operators:
            for raw in self.kubernetes.pods.values():
                uid = raw["metadata"]["uid"]
                assert not operator.pods.ended(uid) or uid in self.kubernetes.ended
            assert not any(map(operator.pods.lives, operator.heard_of_the_end))

    @invariant()
    def few_are_removed_without_evidence(self) -> None:
        held = len(self.consul.ours())
        for operator in self.operators:
            operator.most_held = max(operator.most_held, held)
            operator.unproven = {
                uid: at
                for uid, at in operator.unproven.items()
                if self.now - at < brake.REMEMBER_S and not operator.pods.lives(uid)
            }
            most = max(FREE, brake.FREE_SHARE * operator.most_held)
            assert len(operator.unproven) <= most, (
                "more than the brake's share are removed on one list"
            )

    @rule()
    def come_to_rest(self) -> None:
        """Everything answers and one operator leads: Consul holds what living Pods ask for."""
        self.consul.away = self.consul.loses_answers = False
        self.consul.refused = set()
        leader = self.operators[0]
        self.lead(0)
        for which in (0, 1):
            for node in NODES:
                self.go_on(which, node, 1000)
        for _ in range(3):
            leader.take_list()
            self._compare_all(leader)
            self.now += LOOK_AGAIN_S
        assert {(node, held.content.id): _shown(held) for node, held in self.consul.ours()} == {
            (node, asked.content.id): _shown(asked) for node in NODES for asked in self._asked(node)
        }
        index = self.consul.index
        self._compare_all(leader)
        assert self.consul.index == index, "at rest nothing is written"
        present = Counter(
            (held.content.id, "passing" if held.ready else "critical")
            for _, held in self.consul.ours()
        )
        assert not drifted(settled=leader.registrar.settled, present=present)
        assert not excess(settled=leader.registrar.settled, present=present)

    def _compare_all(self, operator: Operator) -> None:
        operator.dirty |= operator.pods.nodes() | {node for node, _ in self.consul.ours()}
        for node in operator.dirty:
            operator.registrar.due(node)
        while operator.dirty:
            node = min(operator.dirty)
            operator.begin(node)
            while node in operator.flights:
                operator.step(node)

    def _asked(self, node: str) -> list[Registration]:
        """What is to be on a node, as the parts that are tested elsewhere say."""
        winners, _ = claims(
            asked
            for pod in self.kubernetes.on(node)
            for asked in wanted(pod=pod, settings=self.settings).registrations
        )
        return [asked for asked in winners if (node, asked.content.id) not in self.others]

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.unpatch()
            for operator in self.operators:
                for flight in operator.flights.values():
                    flight.close()


def _shown(item: Held | Registration) -> tuple[Any, ...]:
    return item.content, item.owner, item.ready


class AgentMachine(Machine):
    """With agents, which know no versions: a former leader's last write is repaired."""

    mode = Mode.AGENT


@pytest.fixture(params=[Machine, AgentMachine])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """For single histories; they end as those that are made up do."""
    machine = request.param()
    yield machine
    machine.teardown()


def test_pods_that_were_there_between_two_lists_that_lack_them_are_missed_anew(
    machine: Machine,
) -> None:
    machine.begin_at_rest(names=set(NAMES))
    machine.list_some(which=0, lacking=NAMES, at_once=True)
    machine.list_all(which=0)
    machine.wait(seconds=LOOK_AGAIN_S)
    machine.list_some(which=0, lacking=NAMES, at_once=True)
    assert len(machine.consul.ours()) == len(NAMES)


def test_two_lists_in_a_row_are_as_one(machine: Machine) -> None:
    machine.begin_at_rest(names=set(NAMES))
    for _ in range(2):
        machine.list_some(which=0, lacking=NAMES, at_once=True)
    machine.wait(seconds=LOOK_AGAIN_S)
    machine.look(which=0)
    assert len(machine.consul.ours()) == len(NAMES)


def test_pods_that_another_leader_registered_since_the_last_list_need_two_that_lack_them(
    machine: Machine,
) -> None:
    machine.begin_at_rest(names=set())
    for position, name in enumerate(NAMES):
        machine.create(name, NODES[position % len(NODES)], ANNOTATIONS[0])
    machine.list_all(which=1)
    machine.lead(which=1)
    machine.catch_up(which=1)
    machine.miss_all(which=0)
    machine.lead(which=0)
    machine.catch_up(which=0)
    for left in (len(NAMES), 0):
        machine.wait(seconds=LOOK_AGAIN_S)
        machine.list_some(which=0, lacking=NAMES, at_once=False)
        machine.look(which=0)
        assert len(machine.consul.ours()) == left


BUDGET = settings(max_examples=60, stateful_step_count=40)
TestCatalog = Machine.TestCase
TestCatalog.settings = BUDGET
TestAgents = AgentMachine.TestCase
TestAgents.settings = BUDGET
