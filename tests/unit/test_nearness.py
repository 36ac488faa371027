"""The nearest instances: their order without noise, and who of them is served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.consul.watch import Watch
from consul_nginx.kube.held import read_held, write_held
from consul_nginx.loops.held import FAILING_S, hold, with_held
from consul_nginx.model.consul import Health, Observation, ServiceQuery, Spell, Spells
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.nearness import SETTLING_S, in_order, placed
from consul_nginx.plan.health import Outcome, decide
from unit.factories import instance, load_balancer, mapping, planned

NOW = 1795331400.0
QUERY = ServiceQuery(service="web", near="node-1")


def ones(text, **more):
    """Instances by their letters, the nearest first."""
    return tuple(instance(f"10.0.0.{ord(letter)}", **more) for letter in text)


def letters(found):
    return "".join(chr(int(item.address.split(".")[-1])) for item in found)


def order(*answers):
    """What becomes of answers, as (seconds, letters)."""
    places = {}
    for at, text in answers:
        places = placed(before=places, now=ones(text), at=NOW + at)
    return letters(in_order(ones(sorted(answers[-1][1])), places))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(0, "cab")], "cab"),
        # Newcomers are where the latest answer has them.
        ([(0, "cab"), (SETTLING_S - 1, "abc")], "abc"),
        # Later it is noise.
        ([(0, "cab"), (SETTLING_S, "abc")], "cab"),
        ([(0, "cab"), (SETTLING_S, "abc"), (9 * SETTLING_S, "bca")], "cab"),
        # Who comes later gets a place among them, at the latest when its node has coordinates.
        ([(0, "cab"), (SETTLING_S, "xcab")], "xcab"),
        ([(0, "cab"), (SETTLING_S, "cxab")], "cxab"),
        ([(0, "cab"), (SETTLING_S, "cabx"), (SETTLING_S + 300, "xcab")], "xcab"),
        ([(0, "cab"), (SETTLING_S, "cabx"), (2 * SETTLING_S, "xcab")], "cabx"),
        ([(0, "cab"), (SETTLING_S, "cxyab")], "cxyab"),
        # Who leaves loses its place.
        ([(0, "cab"), (SETTLING_S, "ab")], "ab"),
        ([(0, "cab"), (SETTLING_S, "ab"), (SETTLING_S + 1, "abc")], "abc"),
        ([(0, "cab"), (SETTLING_S, "")], ""),
    ],
)  # fmt: skip
def test_noise_moves_nobody_and_newcomers_find_their_place(answers, expected):
    assert order(*answers) == expected


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=SETTLING_S),
            st.permutations("abcdef"),
            st.integers(0, 6),
        ),
        min_size=1,
    )
)
def test_whoever_is_registered_has_one_place_and_the_settled_keep_their_order(answers):
    at, places = NOW, {}
    for pause, letters_, count in answers:
        at += pause
        now = ones(letters_[:count])
        settled = [one for one, since in places.items() if at - since >= SETTLING_S]
        places = placed(before=places, now=now, at=at)
        assert set(places) == {one.identity for one in now}
        assert [one for one in places if one in settled] == [
            one for one in settled if one in places
        ]


def test_malformed_entries_share_a_place_and_cost_nobody_his():
    bad = replace(instance("", 0, health=Health.MALFORMED), id="", node="")
    answer = (*ones("b"), bad, bad, *ones("a"))
    found = in_order(answer, placed(before={}, now=answer, at=NOW))
    assert found == answer


def served(*observations, policy=None, nearest=None, now=NOW):
    decision = decide(
        policy=policy or HealthPolicy(),
        observations=observations,
        weights=[1] * len(observations),
        nearest=nearest or {0: 2},
        now=now,
    )
    return ["".join(sorted(letters(item.endpoints))) for item in decision.selections], decision


def near(*instances, **more):
    return Observation(instances=instances, nearest_first=True, **more)


def test_the_nearest_healthy_ones_are_served():
    assert served(near(*ones("dcba")))[0] == ["cd"]
    [found], decision = served(near(*ones("d", health=Health.CRITICAL), *ones("cba")))
    assert (found, decision.healthy, decision.selections[0].healthy) == ("bc", 3, 3)
    assert served(near(*ones("d"), *ones("cba", health=Health.CRITICAL)))[0] == ["d"]


def test_whose_health_counts_is_the_policys_to_say():
    seen = near(*ones("d", health=Health.WARNING), *ones("cba"))
    assert served(seen)[0] == ["bc"]
    assert served(seen, policy=HealthPolicy(warning=True))[0] == ["cd"]


def test_all_are_served_while_nobody_knows_who_is_near():
    assert served(replace(near(*ones("dcba")), nearest_first=False))[0] == ["abcd"]


def test_each_backend_has_its_own_nearest():
    both = near(*ones("dcba")), near(*ones("abcd"))
    assert served(*both, nearest={1: 1})[0] == ["abcd", "a"]
    assert served(*both, nearest={0: 1, 1: 3})[0] == ["d", "abc"]


def test_what_is_registered_twice_counts_once():
    twice = replace(ones("d")[0], id="again")
    assert served(near(*ones("d"), twice, *ones("cba")))[0] == ["cd"]


def test_minimum_counts_all_healthy_ones_and_too_few_are_no_fewer_for_their_distance():
    assert served(near(*ones("dcba")), policy=HealthPolicy(min_healthy=4))[0] == ["cd"]
    few = near(*ones("dcb"), *ones("a", health=Health.CRITICAL))
    [found], decision = served(few, policy=HealthPolicy(min_healthy=4, keep_few=True))
    assert (found, decision.outcome) == ("bcd", Outcome.TOO_FEW)


def test_who_rests_is_stood_in_for_by_the_next():
    back = Spell(began=NOW - 5, returned=True)
    seen = near(*ones("dcba"), history={ones("d")[0].identity: Spells(passing=back, bearable=back)})
    policy = HealthPolicy(hold_down=10)
    [found], decision = served(seen, policy=policy)
    assert (found, decision.again) == ("bc", NOW + 5)
    assert served(seen, policy=policy, now=NOW + 5)[0] == ["cd"]


def test_two_backends_may_want_different_shares_of_the_same_answer():
    one = mapping(
        backends=[
            {"service": "web", "near": {"node": "node-1", "instances": count}} for count in (1, 3)
        ]
    )
    plan = planned(
        load_balancer=load_balancer(), mappings=[one], snapshot={QUERY: near(*ones("dcba"))}
    )
    [upstream] = plan.configuration.upstreams
    found = {chr(int(e.address.split(".")[-1])): e.weight for e in upstream.endpoints}
    assert found == {"d": 4, "c": 1, "b": 1}


def test_a_node_that_consul_does_not_know_is_told():
    one = mapping(backends=[{"service": "web", "near": {"node": "node-1", "instances": 1}}])

    def verdict(seen):
        plan = planned(load_balancer=load_balancer(), mappings=[one], snapshot={QUERY: seen})
        [(_, found)] = plan.mappings
        return found.resolved

    assert verdict(near(*ones("ba"))).message == "1 of 2 instances of web near node-1 are served"
    told = verdict(Observation(instances=ones("ab")))
    assert (told.status, told.reason) == ("False", "NodeNotLocated")
    field = "spec.backends[0].near.node"
    assert told.message.startswith(f"{field}: node-1: Consul has no coordinates of this node")
    assert "2 of 2 instances of web near node-1 are served, however far" in told.message


class Script:
    """Answers each question of a watch with the next of ``answers``, two minutes later."""

    def __init__(self, *answers):
        self.answers, self.published, self.at = list(answers), [], NOW

    async def service(self, *, query, index=0, consistent=False):
        self.at += 120
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        located, text = answer
        return Answer(index=1, instances=ones(text), nearest_first=located)

    async def run(self):
        watch = Watch(
            query=QUERY,
            reader=self,
            publish=lambda _, observation: self.published.append(observation),
            failed=lambda *_: None,
            now=lambda: self.at,
        )
        while self.answers:
            await watch.look(blocking=True)
        return [(seen.nearest_first, letters(seen.instances)) for seen in self.published]


async def test_a_watch_publishes_no_noise():
    settled = [(True, "cab")] * 6
    assert await Script(*settled, (True, "abc"), (True, "bac")).run() == [(True, "cab")]
    assert await Script(*settled, (True, "xabc")).run() == [(True, "cab"), (True, "xcab")]


async def test_a_watch_begins_anew_where_the_node_was_lost():
    script = Script(*[(True, "cab")] * 6, (False, "abc"), (True, "bca"))
    assert await script.run() == [(True, "cab"), (False, "abc"), (True, "bca")]


async def test_the_order_is_kept_while_consul_is_away_also_by_the_next_operator():
    script = Script((True, "cab"), ConsulUnavailable("no leader"))
    await script.run()
    seen = script.published[-1]
    assert (seen.nearest_first, letters(seen.instances), seen.error) == (True, "cab", "no leader")
    later = script.at + FAILING_S
    held = hold(observations={QUERY: seen}, kept=(), before={}, now=later).held
    again = {key: read_held(write_held(item)) for key, item in held.items()}
    [found] = with_held({QUERY: Observation(error="no leader")}, again).values()
    assert (found.nearest_first, letters(found.instances)) == (True, "cab")
