"""Who gets requests when instances fail, flap, vanish or can't be asked for: the pure decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consul_nginx.model.consul import Doubt, Health, Observation, PodMark
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.history import advance
from consul_nginx.plan.health import Outcome, decide
from consul_nginx.plan.survey import GonePods
from unit.factories import instance

P, W, C, M = Health.PASSING, Health.WARNING, Health.CRITICAL, Health.MAINTENANCE
FAIL = HealthPolicy()
KEEP = HealthPolicy(keep=600, keep_few=True)


def one(name, health=P):
    """Instance 10.0.0.``name`` of Pod ``uid-name``."""
    pod = PodMark(cluster="c", namespace="shop", uid=f"uid-{name}")
    return replace(instance(f"10.0.0.{name}", health=health), pod=pod)


def seen(*moments, **more):
    """Observation after Consul said these, as (time, {name: health})."""
    before, history = (), {}
    for position, (at, healths) in enumerate(moments):
        now = tuple(one(name, health) for name, health in healths.items())
        if position:
            history = advance(before=before, history=history, now=now, at=at)
        before = now
    return Observation(instances=before, history=history, **more)


def names(decision):
    """Last numbers of the addresses that are served, by backend; one backend: without a list."""
    groups = [
        [int(endpoint.address.split(".")[-1]) for endpoint in selection.endpoints]
        for selection in decision.selections
    ]
    return groups[0] if len(groups) == 1 else groups


def decided(*observations, policy=FAIL, now=100.0, **more):
    weights = [1] * len(observations)
    return decide(policy=policy, observations=observations, weights=weights, now=now, **more)


def test_passing_instances_are_served():
    decision = decided(seen((0, {1: P, 2: W, 3: C, 4: M})))
    assert (decision.outcome, names(decision)) == (Outcome.HEALTHY, [1])


def test_warning_instances_are_if_the_policy_says_so():
    policy = HealthPolicy(warning=True)
    assert names(decided(seen((0, {1: P, 2: W, 3: C, 4: M})), policy=policy)) == [1, 2]


def test_by_default_failed_instances_get_nothing_more():
    decision = decided(seen((0, {1: P}), (99, {1: C})))
    assert (decision.outcome, names(decision), decision.again) == (Outcome.EMPTY, [], None)


def test_keep_last_goes_on_with_those_that_were_healthy_of_late_and_says_until_when():
    observation = seen((0, {1: P, 2: P, 3: C}), (50, {1: P, 2: C, 3: C}), (90, {1: C, 2: C, 3: C}))
    decision = decided(observation, policy=KEEP)
    assert (decision.outcome, names(decision)) == (Outcome.KEPT, [1, 2])
    assert (decision.kept, decision.healthy) == (2, 0)
    assert (decision.again, decision.until) == (650, 690)
    later = decided(observation, policy=KEEP, now=650.0)
    assert (names(later), later.again, later.until) == ([1], 690, 690)
    assert decided(observation, policy=KEEP, now=690.0).outcome is Outcome.EMPTY


def test_nobody_is_kept_while_enough_are_healthy():
    assert names(decided(seen((0, {1: P, 2: P}), (90, {1: P, 2: C})), policy=KEEP)) == [1]


def test_who_was_never_healthy_is_not_kept():
    assert names(decided(seen((0, {1: C})), policy=KEEP)) == []


def test_the_deregistered_are_not_kept():
    decision = decided(seen((0, {1: P, 2: P}), (90, {1: C, 2: C}), (99, {1: C})), policy=KEEP)
    assert names(decision) == [1]
    assert decided(seen((0, {1: P}), (99, {})), policy=KEEP).outcome is Outcome.EMPTY


def test_maintenance_is_never_served():
    assert names(decided(seen((0, {1: P, 2: P}), (99, {1: M, 2: C})), policy=KEEP)) == [2]


def test_fewer_than_the_minimum_are_as_good_as_none():
    observation = seen((0, {1: P, 2: P}), (99, {1: P, 2: C}))
    assert names(decided(observation, policy=HealthPolicy(min_healthy=2))) == []
    assert names(decided(observation, policy=replace(KEEP, min_healthy=2))) == [1, 2]


def test_keep_last_ends_with_the_healthy_even_if_they_are_too_few():
    observation = seen((0, {1: P, 2: P}), (99, {1: P, 2: C}))
    decision = decided(observation, policy=replace(KEEP, min_healthy=2), now=800.0)
    assert (decision.outcome, names(decision)) == (Outcome.TOO_FEW, [1])


def test_an_emptiness_has_to_last_for_the_hold_time():
    observation = seen((0, {1: P, 2: P}), (90, {1: C, 2: P}), (95, {1: C, 2: C}))
    policy = HealthPolicy(keep=10)
    decision = decided(observation, policy=policy)
    assert (decision.outcome, names(decision), decision.until) == (Outcome.KEPT, [2], 105)
    assert decided(observation, policy=policy, now=105.0).outcome is Outcome.EMPTY


def test_the_hold_time_keeps_nothing_unless_it_makes_enough():
    observation = seen((0, {1: P, 2: P, 3: P}), (97, {1: C, 2: P, 3: P}), (99, {1: C, 2: C, 3: P}))
    policy = HealthPolicy(keep=10, min_healthy=3)
    decision = decided(observation, policy=policy)
    assert (names(decision), decision.until, decision.again) == ([1, 2, 3], 107, 107)
    assert names(decided(observation, policy=policy, now=107.0)) == []


def test_backends_count_together():
    first, second = seen((0, {1: P}), (99, {1: C})), seen((0, {2: P}))
    assert names(decided(first, second, policy=KEEP)) == [[], [2]]
    assert names(decided(first, second, policy=replace(KEEP, min_healthy=2))) == [[1], [2]]


def test_unknown_is_not_empty():
    decision = decided(seen((0, {1: P})), Observation())
    assert decision.outcome is Outcome.UNKNOWN
    assert [selection is None for selection in decision.selections] == [False, True]


def test_no_answer_takes_nothing_away_however_long_it_lasts():
    observation = seen((0, {1: P}), error="refused", failing_since=1.0)
    assert names(decided(observation, now=1e9)) == [1]


DOUBTED = replace(
    seen((0, {1: P, 2: P}), error="no leader", failing_since=50.0),
    doubt=Doubt(since=50.0, instances=(one(1),), history={}),
)


@pytest.mark.parametrize("policy", [FAIL, KEEP])
def test_what_could_not_be_confirmed_is_believed_when_it_has_been_said_for_long_enough(policy):
    decision = decided(DOUBTED, policy=policy, now=649.0)
    assert (names(decision), decision.again) == ([1, 2], 650)
    assert names(decided(DOUBTED, policy=policy, now=650.0)) == [1]


def test_a_pod_that_was_seen_to_end_is_served_no_longer_whatever_consul_says():
    gone = GonePods(ended=frozenset({"uid-1"}))
    assert names(decided(seen((0, {1: P, 2: P})), gone=gone)) == [2]
    assert names(decided(DOUBTED, gone=gone)) == [2]
    assert names(decided(seen((0, {1: P, 2: P}), (99, {1: C, 2: C})), policy=KEEP, gone=gone)) == [
        2
    ]


def test_a_pod_that_a_list_lacks_goes_unless_consul_calls_it_healthy_now():
    gone = GonePods(missing=frozenset({"uid-1"}))
    assert names(decided(seen((0, {1: P, 2: P})), gone=gone)) == [1, 2]
    assert names(decided(DOUBTED, gone=gone)) == [2]
    assert names(decided(seen((0, {1: P, 2: P}), (99, {1: C, 2: C})), policy=KEEP, gone=gone)) == [
        2
    ]


def test_who_returns_rests_for_the_hold_down():
    observation = seen((0, {1: P, 2: P}), (10, {1: C, 2: P}), (95, {1: P, 2: P}))
    policy = HealthPolicy(hold_down=30)
    decision = decided(observation, policy=policy)
    assert (names(decision), decision.resting, decision.again) == ([2], 1, 125)
    assert names(decided(observation, policy=policy, now=125.0)) == [1, 2]


def test_each_failure_begins_the_hold_down_anew():
    moments = [(0, {1: P, 2: P}), (10, {1: C, 2: P}), (50, {1: P, 2: P}), (60, {1: C, 2: P})]
    policy = HealthPolicy(hold_down=30)
    assert decided(seen(*moments, (90, {1: P, 2: P})), policy=policy, now=119.0).again == 120


def test_who_is_new_does_not_rest():
    assert names(
        decided(seen((0, {2: P}), (99, {1: P, 2: P})), policy=HealthPolicy(hold_down=30))
    ) == [1, 2]


def test_nobody_rests_when_too_few_would_be_left():
    observation = seen((0, {1: P, 2: P}), (10, {1: C, 2: C}), (95, {1: P, 2: P}))
    decision = decided(observation, policy=HealthPolicy(hold_down=30))
    assert (names(decision), decision.resting, decision.again) == ([1, 2], 0, 125)


def test_the_end_of_a_rest_is_told_also_while_too_few_are_left_for_anybody_to_rest():
    moments = [(0, {1: P, 2: P, 3: P}), (5, {1: C, 2: C, 3: C})]
    moments += [(10, {1: P, 2: C, 3: C}), (20, {1: P, 2: P, 3: C}), (30, {1: P, 2: P, 3: P})]
    policy = HealthPolicy(min_healthy=2, hold_down=30)
    decision = decided(seen(*moments), policy=policy, now=31.0)
    assert (names(decision), decision.resting, decision.again) == ([1, 2, 3], 0, 40)


def steps(decision):
    return [item.weight for selection in decision.selections for item in selection.endpoints]


def test_who_comes_later_gets_its_share_in_steps():
    observation, policy = seen((0, {1: P}), (100, {1: P, 2: P})), HealthPolicy(slow_start=30)
    found = {now: decided(observation, policy=policy, now=now) for now in (100.0, 110.0, 120.0)}
    assert [steps(decision) for decision in found.values()] == [[4, 1], [4, 2], [4, 3]]
    assert [decision.again for decision in found.values()] == [110, 120, 130]
    last = decided(observation, policy=policy, now=130.0)
    assert (steps(last), last.again) == ([1, 1], None)


def test_who_returns_gets_its_share_in_steps_too():
    observation = seen((0, {1: P, 2: P}), (10, {1: P, 2: C}), (100, {1: P, 2: P}))
    assert steps(decided(observation, policy=HealthPolicy(slow_start=30))) == [4, 1]


def test_who_is_on_the_same_step_and_began_at_another_time_goes_on_alone():
    observation = seen((0, {}), (100, {1: P}), (104, {1: P, 2: P}))
    decision = decided(observation, policy=HealthPolicy(slow_start=30), now=106.0)
    assert (steps(decision), decision.again) == ([1, 1], 110)


def test_where_all_are_new_nobody_waits():
    observation = seen((0, {}), (100, {1: P, 2: P}))
    decision = decided(observation, policy=HealthPolicy(slow_start=30))
    assert (steps(decision), decision.again) == ([1, 1], None)


def test_an_instance_that_can_not_be_used_does_not_count_as_healthy():
    observation = Observation(instances=(one(1), replace(one(2), address="evil")))
    assert names(decided(observation, policy=HealthPolicy(min_healthy=2))) == []


@pytest.mark.parametrize("slow_start", [0, 30])
def test_a_clock_that_was_set_back_keeps_nobody_from_being_served(slow_start):
    later = seen((100, {1: P}), (200, {1: P, 2: P}))
    policy = HealthPolicy(slow_start=slow_start)
    assert names(decided(later, policy=policy, now=50.0)) == [1, 2]
