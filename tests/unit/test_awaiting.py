"""An edited mapping is served as it was until Consul says by whom it is served now."""

from __future__ import annotations

import pytest

from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.model.verdict import Status
from unit.factories import instance, mapping_raw
from unit.flow import Flow

BLUE, GREEN = (instance("10.0.0.1"),), (instance("10.0.0.2"),)
NOWHERE = {"unix"}
YOUNGER = {"name": "other", "uid": "uid-2", "creationTimestamp": "2026-11-23T07:00:00Z"}


@pytest.fixture
async def flow():
    made = Flow()
    yield made
    await made.catalog.close()


def backed_by(*services, **more):
    return mapping_raw(backends=[{"service": service} for service in services], **more)


async def served_by_blue(flow):
    flow.consul.says = {"blue": BLUE}
    flow.put(backed_by("blue", path={"value": "/old"}))
    await flow.reconcile()
    assert flow.served() == {"10.0.0.1"}


def verdict(programme):
    [(mapping, found)] = programme.plan.mappings
    return mapping, found


async def test_a_route_stays_when_its_mapping_is_edited_while_consul_is_silent(flow):
    await served_by_blue(flow)
    before = dict(flow.files)
    flow.put(backed_by("green", path={"value": "/new"}))
    programme = await flow.reconcile()
    assert flow.files == before
    mapping, told = verdict(programme)
    assert told.accepted.is_true
    assert (told.resolved.status, told.resolved.reason) == (Status.UNKNOWN, "ConsulUnreachable")
    assert "it never answered that; generation 1, which was served before, is served on" in (
        told.resolved.message
    )
    assert programme.first_revision(mapping.meta) is None, "nginx has not been told of it"


async def test_what_was_served_before_moves_on_meanwhile(flow):
    await served_by_blue(flow)
    flow.put(backed_by("green"))
    await flow.reconcile()
    flow.consul.says["blue"] = (*BLUE, instance("10.0.0.9"))
    await flow.answer()
    await flow.reconcile()
    assert flow.served() == {"10.0.0.1", "10.0.0.9"}


async def test_the_new_form_is_served_when_consul_answers_and_nobody_asks_for_the_old_one(flow):
    await served_by_blue(flow)
    flow.put(backed_by("green", path={"value": "/new"}))
    await flow.reconcile()
    assert flow.catalog.watched == 2
    flow.consul.says["green"] = GREEN
    await flow.answer()
    programme = await flow.reconcile()
    assert flow.served() == {"10.0.0.2"}
    mapping, told = verdict(programme)
    assert told.resolved.is_true
    assert programme.first_revision(mapping.meta) == programme.revision
    assert flow.catalog.watched == 1
    [remembered] = flow.state.mappings.values()
    assert remembered["metadata"]["generation"] == 2


async def test_also_after_a_restart_without_consul(flow):
    await served_by_blue(flow)
    before = dict(flow.files)
    flow.put(backed_by("green"))
    await flow.catalog.close()
    flow.consul.says = {}
    flow.restart()
    for _ in range(2):
        await flow.reconcile()
        assert flow.files == before
    await flow.catalog.close()
    flow.restart()
    await flow.reconcile()
    assert flow.files == before
    flow.consul.says["green"] = GREEN
    await flow.answer()
    await flow.reconcile()
    assert flow.served() == {"10.0.0.2"}


async def test_an_edit_that_consul_refuses_leaves_what_was_served(flow):
    await served_by_blue(flow)
    before = dict(flow.files)
    flow.consul.says["green"] = ConsulRefused("HTTP 400 namespaces are Enterprise", status=400)
    flow.put(backed_by("green"))
    programme = await flow.reconcile()
    assert flow.files == before
    _, told = verdict(programme)
    assert (told.resolved.status, told.resolved.reason) == (Status.FALSE, "ConsulRefused")
    assert "generation 1, which was served before, is served on" in told.resolved.message


async def test_a_mapping_that_gains_a_backend_that_consul_refuses_serves_the_others(flow):
    await served_by_blue(flow)
    flow.consul.says |= {"green": ConsulRefused("HTTP 400 no", status=400), "red": GREEN}
    flow.put(backed_by("blue", "green", "red"))
    await flow.reconcile()
    assert flow.served() == {"10.0.0.1", "10.0.0.2"}


async def test_a_mapping_that_gains_a_backend_of_which_consul_is_silent_keeps_its_form(flow):
    await served_by_blue(flow)
    before = dict(flow.files)
    flow.put(backed_by("blue", "green"))
    await flow.reconcile()
    assert flow.files == before


async def test_a_redirect_stays_until_the_backends_are_known(flow):
    flow.put(mapping_raw(backends=[], redirect={"scheme": "https"}))
    await flow.reconcile()
    before = dict(flow.files)
    flow.put(backed_by("green"))
    await flow.reconcile()
    assert flow.files == before


async def test_a_new_mapping_waits_with_nothing_and_its_fallback_serves(flow):
    flow.put(backed_by("green"))
    await flow.reconcile()
    assert flow.served() == NOWHERE
    flow.put(backed_by("green", fallback=[{"address": "192.0.2.1", "port": 80}]))
    await flow.reconcile()
    assert flow.served() == {"192.0.2.1"}


async def test_what_an_edited_mapping_gives_up_is_another_ones_when_it_is_served(flow):
    await served_by_blue(flow)
    flow.consul.says["red"] = (instance("10.0.0.3"),)
    other = backed_by("red", path={"value": "/old"})
    other["metadata"] |= YOUNGER
    flow.put(backed_by("green", path={"value": "/new"}))
    flow.put(other)
    programme = await flow.reconcile()
    reasons = {m.meta.ref.name: told.accepted.reason for m, told in programme.plan.mappings}
    assert reasons == {"web": "Accepted", "other": "Conflicted"}
    flow.consul.says["green"] = GREEN
    await flow.answer()
    programme = await flow.reconcile()
    assert all(told.accepted.is_true for _, told in programme.plan.mappings)
    assert flow.served() == {"10.0.0.2", "10.0.0.3"}


async def test_whose_place_an_edit_would_take_is_served_as_long_as_the_edit_is_not(flow):
    await served_by_blue(flow)
    flow.consul.says["red"] = (instance("10.0.0.3"),)
    other = backed_by("red", path={"value": "/new"})
    other["metadata"] |= YOUNGER
    flow.put(other)
    await flow.reconcile()
    before = dict(flow.files)
    flow.put(backed_by("green", path={"value": "/new"}))
    for _ in range(2):
        programme = await flow.reconcile()
        assert flow.files == before
        assert all(told.accepted.is_true for _, told in programme.plan.mappings)
    flow.consul.says["green"] = GREEN
    await flow.answer()
    programme = await flow.reconcile()
    reasons = {m.meta.ref.name: told.accepted.reason for m, told in programme.plan.mappings}
    assert reasons == {"web": "Accepted", "other": "Conflicted"}
    assert flow.served() == {"10.0.0.2"}


async def test_consul_is_not_asked_for_an_earlier_form_that_is_accepted_no_longer(flow):
    await served_by_blue(flow)
    await flow.catalog.close()
    flow.put(backed_by("green"))
    flow.edit(listeners=[{"name": "http", "port": 80, "allowedServices": ["green"]}])
    flow.consul.asked.clear()
    flow.restart()
    await flow.reconcile()
    assert flow.consul.asked == {"green"}
