"""Of all replicas at most one writes, whatever happens to the others."""

from __future__ import annotations

import contextlib
import copy

import pytest

from consul_nginx.kube.errors import KubeConflict, KubeUnavailable, NotLeading
from consul_nginx.loops.lead import LEASE_S, RENEW_DEADLINE_S, LeaseElector
from consul_nginx.model.kubernetes import ObjectRef

REF = ObjectRef(namespace="consul-nginx", name="lease")


class Leases:
    """The Lease in an API server (unit level only; real ones: tests/cluster/test_lead.py)."""

    def __init__(self):
        self.lease = None
        self.down = False

    async def get(self, _kind, _ref):
        if self.down:
            raise KubeUnavailable("no route to host")
        return copy.deepcopy(self.lease)

    async def create(self, _kind, body):
        if self.lease is not None:
            raise KubeConflict("exists")
        self._store(body, version=1)

    async def replace(self, _kind, body):
        current = self.lease["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != current:
            raise KubeConflict("changed")
        self._store(body, version=int(current) + 1)

    def _store(self, body, *, version):
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(version)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def leases():
    return Leases()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def elector(leases, clock, changes):
    def make(identity):
        return LeaseElector(
            kube=leases,
            ref=REF,
            identity=identity,
            changed=lambda leading: changes.append((identity, leading)),
            clock=clock,
        )

    return make


async def attempt(elector):
    with contextlib.suppress(KubeConflict, KubeUnavailable):
        await elector._try()
    elector._notice()


async def test_the_first_one_leads_and_the_second_does_not(elector, changes):
    a, b = elector("a"), elector("b")
    await attempt(a)
    await attempt(b)
    a.require()
    with pytest.raises(NotLeading, match="a leads"):
        b.require()
    assert changes == [("a", True)]


async def test_who_can_not_renew_stops_before_another_can_begin(elector, leases, clock):
    a, b = elector("a"), elector("b")
    await attempt(a)
    await attempt(b)
    leases.down = True
    clock.now += RENEW_DEADLINE_S
    await attempt(a)
    assert not a.leading
    leases.down = False
    clock.now += LEASE_S - RENEW_DEADLINE_S
    await attempt(b)
    assert not b.leading
    clock.now += 0.1
    await attempt(b)
    assert b.leading
    assert leases.lease["spec"]["leaseTransitions"] == 2


async def test_one_that_slept_does_not_write_when_it_wakes(elector, clock):
    a = elector("a")
    await attempt(a)
    clock.now += 60
    with pytest.raises(NotLeading):
        a.require()


async def test_confirming_finds_another_leader_at_once(elector, leases, changes):
    """For one that was frozen with its clock, as virtual machines can be."""
    a = elector("a")
    await attempt(a)
    leases.lease["spec"]["holderIdentity"] = "b"
    a.require()
    with pytest.raises(NotLeading):
        await a.confirm()
    assert changes == [("a", True), ("a", False)]


async def test_a_lease_that_was_given_back_is_taken_at_once(elector):
    a, b = elector("a"), elector("b")
    await attempt(a)
    await a.release()
    assert not a.leading
    await attempt(b)
    assert b.leading


async def test_the_renewals_of_another_are_seen_by_what_they_change_not_by_their_time(
    elector, clock
):
    """No clock of one machine is compared with that of another."""
    a, b = elector("a"), elector("b")
    for _ in range(10):
        await attempt(a)
        await attempt(b)
        clock.now += LEASE_S * 0.5
    assert not b.leading


async def test_a_replica_that_comes_back_under_its_name_goes_on(elector):
    await attempt(elector("a"))
    again = elector("a")
    await attempt(again)
    assert again.leading
