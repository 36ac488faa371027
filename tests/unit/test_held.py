"""What is remembered of services whose instances Consul does not tell: rarely written."""

from __future__ import annotations

from dataclasses import replace

from consul_nginx.kube.state import query_key
from consul_nginx.loops.held import FAILING_S, MAX_INSTANCES, hold, with_held
from consul_nginx.model.consul import UNKNOWN, Health, Observation, ServiceQuery
from consul_nginx.model.history import Recollection
from unit.factories import instance

WEB, API = ServiceQuery(service="web"), ServiceQuery(service="api")
WELL = Observation(instances=(instance(),))
FAILING = replace(WELL, error="refused", failing_since=100.0)


def held(observations, *, kept=(), before=None, now=100.0):
    return hold(observations=observations, kept=kept, before=before or {}, now=now)


def test_nothing_is_held_while_consul_answers():
    assert held({WEB: WELL}).held == {}


def test_a_short_absence_is_not_written_and_looked_at_again():
    found = held({WEB: FAILING}, now=102.0)
    assert (found.held, found.again) == ({}, 100.0 + FAILING_S)


def test_what_fails_for_a_while_is_held_as_it_was():
    found = held({WEB: FAILING, API: WELL}, now=100.0 + FAILING_S)
    memory = Recollection(at=105.0, instances=WELL.instances, history={})
    assert (found.held, found.again) == ({query_key(WEB): memory}, None)


def test_what_is_served_although_it_is_not_healthy_is_held_at_once():
    assert held({WEB: WELL}, kept=(WEB,)).held.keys() == {query_key(WEB)}


def test_what_is_held_stays_as_it_was_written_until_consul_tells_of_it_again():
    before = held({WEB: FAILING}, now=200.0).held
    fewer = replace(FAILING, instances=())
    assert held({WEB: fewer}, before=before, now=300.0).held == before
    assert held({WEB: WELL}, before=before, now=300.0).held == {}


def test_what_another_process_held_is_known_here_and_stays_held():
    before = held({WEB: FAILING}, now=200.0).held
    known = with_held({WEB: UNKNOWN, API: UNKNOWN}, before)
    assert known[WEB].instances == WELL.instances
    assert known[API] is UNKNOWN
    assert held(known, before=before, now=201.0).held == before


def test_what_was_never_answered_can_not_be_held():
    assert held({WEB: replace(UNKNOWN, error="refused", failing_since=1.0)}, now=200.0).held == {}


def test_malformed_instances_are_not_held():
    broken = replace(FAILING, instances=(instance(), instance("", health=Health.MALFORMED)))
    [memory] = held({WEB: broken}, now=200.0).held.values()
    assert memory.instances == WELL.instances


def test_more_than_a_config_map_bears_is_not_held():
    many = replace(FAILING, instances=tuple(instance(port=n + 1) for n in range(MAX_INSTANCES)))
    assert held({WEB: FAILING, API: many}, now=200.0).held.keys() == {query_key(API)}
