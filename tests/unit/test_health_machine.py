"""Whatever happens to instances, Pods and Consul, in whatever order: what always holds.

A watch asks a Consul that is away, or that forgets what it knew; the decisions are made from what
it observes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.consul.watch import Watch
from consul_nginx.model.consul import UNKNOWN, Health, PodMark, ServiceQuery
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.history import Recollection, is_bearable, is_passing, recalled
from consul_nginx.plan.health import Outcome, decide
from consul_nginx.plan.survey import GonePods
from unit.factories import instance

NAMES = range(1, 5)
SECONDS = st.sampled_from([0.0, 5.0, 10.0, 30.0])
POLICIES = st.builds(
    HealthPolicy,
    warning=st.booleans(),
    min_healthy=st.integers(1, 3),
    keep=SECONDS,
    keep_few=st.booleans(),
    hold_down=SECONDS,
    slow_start=SECONDS,
    doubt=st.sampled_from([5.0, 60.0]),
)


def selections(decision):
    return [None if item is None else item.endpoints for item in decision.selections]


def addresses(decision):
    return {one.address for item in selections(decision) for one in item or ()}


class Consul:
    """Answers with ``instances``; or, ``forgetful``, with none, and confirms nothing then."""

    def __init__(self):
        self.instances, self.index = (), 1
        self.away = self.forgetful = False

    async def service(self, *, query, index=0, consistent=False):
        if self.away or (self.forgetful and consistent):
            raise ConsulUnavailable("no leader")
        self.index += 1
        return Answer(index=self.index, instances=() if self.forgetful else self.instances)


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time, self.consul, self.ended = 1_000_000.0, Consul(), set()
        self.healthy_at, self.recollection = {}, None
        self.start_watch()

    def teardown(self):
        self.loop.close()

    @initialize(policy=POLICIES)
    def choose(self, policy):
        self.policy = policy

    def start_watch(self):
        self.observation = UNKNOWN
        self.watch = Watch(
            query=ServiceQuery(service="web"),
            reader=self.consul,
            publish=lambda _, observation: setattr(self, "observation", observation),
            failed=lambda *_: None,
            now=lambda: self.time,
        )

    def look(self):
        self.loop.run_until_complete(self.watch.look(blocking=False))

    @rule(name=st.sampled_from(NAMES), health=st.sampled_from(Health))
    def register(self, name, health):
        pod = PodMark(cluster="c", namespace="shop", uid=f"uid-{name}")
        one = replace(instance(f"10.0.0.{name}", health=health), pod=pod)
        others = [item for item in self.consul.instances if item.address != one.address]
        self.consul.instances = tuple(sorted([*others, one]))
        self.look()

    @rule(name=st.sampled_from(NAMES))
    def deregister(self, name):
        self.consul.instances = tuple(
            item for item in self.consul.instances if item.address != f"10.0.0.{name}"
        )
        self.look()

    @rule(away=st.booleans(), forgetful=st.booleans())
    def consul_changes(self, away, forgetful):
        self.consul.away, self.consul.forgetful = away, forgetful
        self.look()

    @rule(name=st.sampled_from(NAMES))
    def pod_ends(self, name):
        self.ended.add(f"uid-{name}")

    @rule(seconds=st.sampled_from([1.0, 4.0, 11.0, 31.0]))
    def time_passes(self, seconds):
        self.time += seconds
        self.look()

    @precondition(lambda self: self.known.instances is not None)
    @rule()
    def operator_restarts(self):
        known = self.known
        self.recollection = Recollection(
            at=self.time, instances=known.instances, history=known.history
        )
        before = self.decided()
        self.start_watch()
        if before.outcome is Outcome.KEPT or known.error is not None:
            assert selections(self.decided()) == selections(before) or known.doubt is not None

    @property
    def known(self):
        if self.recollection is None:
            return self.observation
        return recalled(self.observation, self.recollection)

    def decided(self, *, later=0.0):
        return decide(
            policy=self.policy,
            observations=(self.known,),
            weights=(1,),
            gone=GonePods(ended=frozenset(self.ended)),
            now=self.time + later,
        )

    def counts(self, one):
        return (is_bearable if self.policy.warning else is_passing)(one.health)

    def served(self):
        return addresses(self.decided())

    @invariant()
    def only_what_consul_last_said_is_served_and_no_maintenance(self):
        known = {
            item.address
            for item in self.known.instances or ()
            if item.health not in (Health.MAINTENANCE, Health.MALFORMED)
        }
        assert self.served() <= known

    @invariant()
    def nobody_is_served_whose_pod_ended(self):
        assert not self.served() & {f"10.0.0.{uid.removeprefix('uid-')}" for uid in self.ended}

    @invariant()
    def whoever_is_served_was_healthy_of_late(self):
        for item in self.known.instances or ():
            if self.counts(item):
                self.healthy_at[item.address] = self.time
        for address in self.served():
            assert self.time - self.healthy_at[address] <= self.policy.keep

    @invariant()
    def enough_healthy_ones_are_served_and_nobody_else(self):
        decision = self.decided()
        if decision.outcome is Outcome.HEALTHY:
            assert decision.healthy >= self.policy.min_healthy
            assert decision.kept == 0
            assert len(addresses(decision)) >= self.policy.min_healthy
        elif decision.outcome is not Outcome.UNKNOWN:
            assert decision.healthy < self.policy.min_healthy

    @invariant()
    def consul_away_takes_nobody_out(self):
        if self.known.error is not None and self.known.doubt is None:
            well = {
                item.address
                for item in self.known.instances or ()
                if self.counts(item) and item.pod.uid not in self.ended
            }
            if len(well) >= self.policy.min_healthy:
                assert self.served()

    @invariant()
    def nothing_changes_before_the_time_that_is_told(self):
        decision = self.decided()
        until = 1e6 if decision.again is None else decision.again - self.time
        assert until > 0
        for share in (0.3, 0.99):
            assert selections(self.decided(later=until * share)) == selections(decision)


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestHealthMachine = Machine.TestCase
