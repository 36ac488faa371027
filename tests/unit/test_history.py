"""Since when instances have been healthy, and what a restart keeps of it."""

from __future__ import annotations

from dataclasses import replace

from consul_nginx.model.consul import UNKNOWN, Health, Observation, Spell, Spells
from consul_nginx.model.history import Recollection, advance, recalled, spell
from unit.factories import instance

WEB = instance()


def sees(*healths):
    """History of one instance whose health was seen to be these, at 1, 2, 3 seconds; last too."""
    before, history = (), {}
    for at, health in enumerate(healths):
        now = () if health is None else (replace(WEB, health=health),)
        if at:
            history = advance(before=before, history=history, now=now, at=float(at))
        before = now
    return history, before


def passing(*healths):
    history, [last] = sees(*healths)
    return spell(history=history, instance=last, bearable=False)


def bearable(*healths):
    history, [last] = sees(*healths)
    return spell(history=history, instance=last, bearable=True)


P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL


def test_who_was_healthy_when_first_seen_has_been_for_long():
    assert passing(P) == passing(P, P) == Spell()
    assert sees(P, P)[0] == {}


def test_who_was_never_healthy_has_no_spell():
    assert passing(C) is passing(C, C) is passing(W, C) is None


def test_a_spell_ends_when_the_instance_is_seen_to_fail_and_stays_ended():
    assert passing(P, C) == passing(P, C, C) == Spell(ended=1.0)


def test_who_returns_has_a_new_spell():
    assert passing(P, C, C, P) == Spell(began=3.0, returned=True)
    assert passing(P, C, P, C) == Spell(began=2.0, ended=3.0, returned=True)


def test_who_becomes_healthy_for_the_first_time_did_not_return():
    assert passing(C, P) == Spell(began=1.0)


def test_warning_ends_a_spell_of_passing_only():
    assert passing(P, W) == Spell(ended=1.0)
    assert bearable(P, W) == Spell()
    assert bearable(P, W, C, W) == Spell(began=3.0, returned=True)
    assert passing(P, W, C, W) == Spell(ended=1.0)


def test_who_comes_later_is_new():
    history = advance(before=(), history={}, now=(WEB,), at=5.0)
    assert spell(history=history, instance=WEB, bearable=False) == Spell(began=5.0)


def test_who_is_deregistered_is_forgotten():
    assert sees(P, C, None)[0] == {}
    assert passing(P, C, None, P) == Spell(began=3.0)


def test_another_pod_under_the_same_id_is_another_instance():
    successor = replace(WEB, pod=replace(WEB.pod, uid="another"))
    history = advance(before=(WEB,), history={}, now=(successor,), at=1.0)
    assert spell(history=history, instance=successor, bearable=False) == Spell(began=1.0)


SICK = replace(WEB, health=C)


def test_what_has_not_answered_since_a_restart_is_as_it_was():
    before = Recollection(at=9.0, instances=(WEB,), history={WEB.identity: Spells(passing=Spell())})
    seen = recalled(UNKNOWN, before)
    assert (seen.instances, seen.history) == (before.instances, before.history)
    assert seen.error
    assert seen.failing_since == 9.0
    failing = Observation(error="refused", failing_since=11.0)
    assert (recalled(failing, before).error, recalled(failing, before).failing_since) == (
        "refused",
        11.0,
    )


def ended(observation, one):
    found = spell(history=observation.history, instance=one, bearable=False)
    return None if found is None else found.ended


def test_what_failed_before_a_restart_failed_at_that_time():
    history = advance(before=(WEB,), history={}, now=(SICK,), at=4.0)
    before = Recollection(at=9.0, instances=(SICK,), history=history)
    assert ended(recalled(Observation(instances=(SICK,)), before), SICK) == 4.0


def test_what_failed_while_nobody_looked_was_healthy_until_then():
    before = Recollection(at=9.0, instances=(WEB,), history={})
    assert ended(recalled(Observation(instances=(SICK,)), before), SICK) == 9.0


def test_what_was_seen_since_counts_more_than_what_was_remembered():
    before = Recollection(at=9.0, instances=(WEB,), history={})
    seen = Observation(
        instances=(SICK,), history=advance(before=(WEB,), history={}, now=(SICK,), at=20.0)
    )
    assert ended(recalled(seen, before), SICK) == 20.0


def test_nobody_is_remembered_who_was_not_known():
    other = instance("10.0.0.9", health=C)
    before = Recollection(at=9.0, instances=(WEB,), history={})
    seen = Observation(instances=(other,))
    assert recalled(seen, before) is seen
