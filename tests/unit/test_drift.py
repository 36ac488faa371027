"""Which nodes are compared when Consul does not hold what was written."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.loops import drift
from consul_nginx.loops.comparison import Comparison
from consul_nginx.loops.drift import DriftWatch, Present, drifted, excess
from consul_nginx.registrar.outcome import Settled
from unit.test_difference import registration

if TYPE_CHECKING:
    from collections.abc import Callable


def settled(**nodes: str) -> dict[str, Settled]:
    return {
        node: Settled(written={identity: registration(identity)})
        for node, identity in nodes.items()
    }


def present(*passing: str, **other: str) -> Present:
    return Counter([*((identity, "passing") for identity in passing), *other.items()])


def test_what_is_there_as_written_is_no_drift() -> None:
    assert not drifted(settled=settled(a="web"), present=present("web"))


def test_what_is_missing_or_has_another_state_is_drift_of_its_node() -> None:
    both = settled(a="web", b="api")
    assert drifted(settled=both, present=present("web")) == {"b"}
    assert drifted(settled=both, present=present("api", web="critical")) == {"a"}


def test_an_id_that_two_nodes_have_is_looked_at_on_both() -> None:
    both = settled(a="web", b="web")
    assert drifted(settled=both, present=present("web")) == {"a", "b"}
    assert not drifted(settled=both, present=present("web", "web"))


def test_what_nobody_asked_for_or_is_there_twice_is_excess() -> None:
    assert excess(settled=settled(a="web"), present=present("web", "old")) == {"old"}
    assert excess(settled=settled(a="web"), present=present("web", "web")) == {"web"}
    assert not excess(settled=settled(a="web", b="web"), present=present("web", web="critical"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two looks."""
    for name in ("SETTLE_S", "STANDBY_S"):
        monkeypatch.setattr(drift, name, 0.0)
    monkeypatch.setattr(drift, "LOOKS_AT_ONCE", 100)


class Witness:
    """Answers, one after the other; then it blocks."""

    def __init__(self, *answers: tuple[int, Present] | ConsulUnavailable) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.done = asyncio.Event()

    async def __call__(self, *, index: int) -> tuple[int, Present]:
        self.asked.append(index)
        if not self.answers:
            self.done.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, ConsulUnavailable):
            raise answer
        return answer


async def watched(
    witness: Witness,
    *,
    leading: Callable[[], bool] = lambda: True,
    compared: Callable[[], bool] = lambda: True,
) -> list[str]:
    seen: list[str] = []
    watch = DriftWatch(
        witness=witness,
        leading=leading,
        settled=lambda: settled(a="web"),
        compared=compared,
        compare=seen.append,
        unknown=lambda: seen.append("unknown"),
        recovered=lambda: seen.append("recovered"),
    )
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(5):
        await witness.done.wait()
    task.cancel()
    return seen


async def test_a_node_is_compared_when_its_registration_vanished() -> None:
    assert await watched(Witness((5, present("web")), (6, present()))) == ["a"]


@pytest.mark.usefixtures("at_once")
async def test_what_is_unknown_is_told_once_when_it_was_seen_twice() -> None:
    both = present("web", "old")
    assert await watched(Witness((5, both), (5, present("web")), (6, present("web")))) == []
    witness = Witness((5, both), (5, both), (6, both), (7, both))
    assert await watched(witness) == ["unknown"]
    assert witness.asked == [0, 0, 5, 6, 7]


@pytest.mark.usefixtures("at_once")
async def test_nothing_is_unknown_before_everything_was_compared() -> None:
    both = present("web", "old")
    looks = iter([False, False, True, True])
    witness = Witness(*[(5, both)] * 4)
    assert await watched(witness, compared=lambda: next(looks)) == ["unknown"]
    assert witness.asked == [0, 0, 0, 0, 5], "it is looked at again until then"


@pytest.mark.usefixtures("at_once")
async def test_what_stays_unknown_is_told_again_later_and_by_the_next_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = present("web", "old")
    looks = iter([True, True, False, True, True, True])
    witness = Witness(*[(5, both)] * 4)
    assert await watched(witness, leading=lambda: next(looks)) == ["unknown", "unknown"]
    monkeypatch.setattr(drift, "TELL_AGAIN_S", 0.0)
    assert await watched(Witness(*[(5, both)] * 4)) == ["unknown", "unknown"]


@pytest.mark.usefixtures("at_once")
async def test_everything_is_compared_once_consul_answers_again() -> None:
    witness = Witness((5, present("web")), ConsulUnavailable("down"), (1, present("web")))
    assert await watched(witness) == ["recovered"]
    assert witness.asked == [0, 5, 0, 1]


async def test_a_comparison_is_complete_when_every_node_was_compared() -> None:
    now = 0.0
    compared = asyncio.Event()

    async def both() -> frozenset[str]:
        return frozenset({"a", "b"})

    comparison = Comparison(
        nodes=both, compare=lambda _: compared.set(), leading=lambda: True, clock=lambda: now
    )
    task = asyncio.create_task(comparison.run())
    async with asyncio.timeout(5):
        await compared.wait()
    now = 7.0
    comparison.done("a")
    assert comparison.age == 7.0
    now = 10.0
    comparison.ask_at_once()
    compared.clear()
    async with asyncio.timeout(5):
        await compared.wait()
    now = 11.0
    comparison.done("a")
    comparison.done("b")
    assert comparison.age == 1.0
    task.cancel()
