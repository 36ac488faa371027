"""One watch of Consul: the three rules, and what counts as news."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.watch import LONGEST_RETRY_S, REFUSED_RETRY_S, Watch, is_suspicious
from consul_nginx.model.consul import Doubt, Health, Observation, ServiceQuery, Spell
from consul_nginx.model.history import spell
from unit.factories import instance

QUERY = ServiceQuery(service="web")
NOW = 1795331400.0
ONE, TWO = (instance("10.0.0.1"),), (instance("10.0.0.1"), instance("10.0.0.2"))


class Script:
    """Answers in order; ends the watch when they are used up."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.published = []
        self.slept = []

    async def service(self, *, query, index=0, consistent=False):
        self.asked.append("consistent" if consistent else index)
        if not self.answers:
            raise asyncio.CancelledError
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(index=answer[0], instances=answer[1])

    async def sleep(self, seconds):
        self.slept.append(seconds)

    async def run(self):
        watch = Watch(
            query=QUERY,
            reader=self,
            publish=lambda _, observation: self.published.append(observation),
            failed=lambda *_: None,
            sleep=self.sleep,
            now=lambda: NOW,
        )
        with pytest.raises(asyncio.CancelledError):
            await watch.run()
        return self


async def test_the_index_of_an_answer_is_waited_on():
    assert (await Script((7, ONE), (9, TWO)).run()).asked == ["consistent", 7, 9]


async def test_an_index_that_goes_back_starts_from_0_once_that_is_confirmed():
    script = await Script((7, ONE), (3, TWO), (3, TWO), (4, ONE)).run()
    assert script.asked == ["consistent", 7, "consistent", 0, 4]
    assert [seen.instances for seen in script.published] == [ONE, TWO, ONE]


async def test_what_a_leader_says_of_the_past_while_it_starts_changes_nothing():
    """It reads its log from the beginning; a consistent read waits for the end."""
    old = (instance("10.0.0.9"),)
    down = ConsulUnavailable("no leader")
    script = await Script((7, ONE), down, (3, old), down, (5, old), (8, ONE)).run()
    assert {seen.instances for seen in script.published} == {ONE}
    assert script.asked[:6] == ["consistent", 7, 0, "consistent", 0, "consistent"]


async def test_a_wake_up_without_news_publishes_nothing():
    assert len((await Script((7, ONE), (8, ONE), (9, ONE)).run()).published) == 1


async def test_an_empty_answer_counts_once_a_consistent_read_confirms_it():
    script = await Script((7, ONE), (8, ()), (8, ())).run()
    assert script.asked[:3] == ["consistent", 7, "consistent"]
    assert script.published[-1] == Observation(instances=())


async def test_an_empty_answer_that_is_not_confirmed_changes_nothing():
    script = await Script((7, ONE), (8, ()), (8, ONE), (9, ONE)).run()
    assert script.published == [Observation(instances=ONE)]


async def test_the_first_answer_is_asked_for_consistently_until_there_is_one():
    script = await Script(ConsulUnavailable("no leader"), (7, ONE), (8, ONE)).run()
    assert script.asked[:3] == ["consistent", "consistent", 7]


async def test_an_emptiness_that_is_known_is_not_confirmed_again():
    script = await Script((7, ()), (8, ())).run()
    assert script.asked == ["consistent", 7, 8]


async def test_an_empty_answer_that_can_not_be_confirmed_changes_nothing():
    script = await Script((7, ONE), (8, ()), ConsulUnavailable("no leader")).run()
    assert script.published[-1].instances == ONE


async def test_an_emptiness_that_can_not_be_confirmed_is_told_as_a_doubt():
    down = ConsulUnavailable("no leader")
    script = await Script((7, ONE), (8, ()), down, (8, ()), down, (8, ()), down).run()
    assert [(seen.instances, seen.doubt is not None) for seen in script.published] == [
        (ONE, False),
        (ONE, True),
    ]
    assert script.published[-1].doubt == Doubt(since=NOW, instances=(), history={})


async def test_a_doubt_is_over_when_consul_answers_nothing_at_all():
    down = ConsulUnavailable("no leader")
    script = await Script((7, ONE), (8, ()), down, down).run()
    assert [seen.doubt is not None for seen in script.published] == [False, True, False]


async def test_a_doubt_is_over_when_consul_tells_of_instances_again():
    script = await Script((7, ONE), (8, ()), ConsulUnavailable("no leader"), (9, ONE)).run()
    assert script.published[-1] == Observation(instances=ONE)


async def test_when_instances_began_and_ceased_to_be_healthy_is_told_with_them():
    well, ill = ONE[0], sick(ONE[0])
    script = await Script((7, (well,)), (8, (ill,)), (8, (ill,)), (9, (well,))).run()
    spells = [
        spell(history=seen.history, instance=seen.instances[0], bearable=False)
        for seen in script.published
    ]
    assert spells == [Spell(), Spell(ended=NOW), Spell(began=NOW, returned=True)]


async def test_consul_down_keeps_the_instances_and_says_since_when():
    script = await Script(
        (7, ONE), ConsulUnavailable("refused"), ConsulUnavailable("refused")
    ).run()
    assert script.published[1:] == [Observation(instances=ONE, error="refused", failing_since=NOW)]


async def test_retries_back_off_up_to_a_bound_and_never_end():
    script = await Script(*[ConsulUnavailable("refused")] * 40, (7, ONE)).run()
    assert script.slept[0] <= 0.2
    assert max(script.slept) <= LONGEST_RETRY_S
    assert script.slept[30] >= LONGEST_RETRY_S / 2
    assert script.published[-1] == Observation(instances=ONE)


async def test_a_refusal_is_told_apart_and_asked_again_slowly():
    script = await Script(ConsulRefused("403")).run()
    assert script.slept == [REFUSED_RETRY_S]
    assert script.published[0].refused


THREE = tuple(instance(f"10.0.0.{n}") for n in (1, 2, 3))


def sick(one):
    return replace(one, health=Health.CRITICAL)


def warned(one):
    return replace(one, health=Health.WARNING)


@pytest.mark.parametrize(
    ("before", "now", "suspicious"),
    [
        (ONE, (), True),
        ((), (), False),
        (TWO, ONE, False),
        (THREE, ONE, True),
        (THREE, tuple(map(sick, THREE)), True),
        (THREE, (sick(THREE[0]), *THREE[1:]), False),
        (tuple(map(sick, THREE)), tuple(map(sick, ONE)), False),
        (tuple(map(warned, THREE)), tuple(map(sick, THREE)), True),
        (tuple(map(warned, THREE)), THREE, False),
    ],
)
def test_what_loses_most_of_its_instances_at_once_is_asked_again(before, now, suspicious):
    assert is_suspicious(before=before, now=now) is suspicious


async def test_most_instances_gone_count_once_a_consistent_read_says_so():
    script = await Script((7, THREE), (8, ONE), (8, TWO)).run()
    assert script.asked[:3] == ["consistent", 7, "consistent"]
    assert script.published[-1] == Observation(instances=TWO)


async def test_a_service_that_flaps_is_asked_at_a_bounded_rate():
    script = await Script(*((n, ONE if n % 2 else TWO) for n in range(7, 60))).run()
    assert script.slept[0] == 0
    assert sum(script.slept[-1:]) > 1
