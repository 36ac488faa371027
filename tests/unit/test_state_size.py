"""A state that is larger than a ConfigMap: what is left out, and that it stops nothing."""

from __future__ import annotations

import random
import string
from base64 import b64decode
from functools import partial

import pytest

from consul_nginx.kube.errors import KubeRefused
from consul_nginx.kube.state import STATE_KEY, State, decode_state, essence
from consul_nginx.kube.state_size import MAX_BYTES, fitted
from consul_nginx.model.consul import Health, Instance, Observation, PodMark
from consul_nginx.model.history import Recollection
from consul_nginx.model.layout import Layout
from consul_nginx.nginx.render import render
from consul_nginx.nginx.substitute import exchangeable
from consul_nginx.plan.status import remembered
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import instance, load_balancer, load_balancer_raw, mapping_raw, planned
from unit.flow import Flow

RANDOM = random.Random(7)
EDGE = essence(load_balancer_raw())


def noise(characters):
    """Text that hardly gets smaller."""
    return "".join(RANDOM.choices(string.ascii_letters + string.digits, k=characters))


def uid(number):
    return f"{RANDOM.getrandbits(128):032x}-{number}"


def elaborate(number):
    """A mapping as large ones are, like others of its team."""
    team, service = f"team-{number % 40}", f"team-{number % 40}-service-{number}"
    return mapping_raw(
        service,
        meta={"uid": uid(number), "creationTimestamp": f"2026-11-{1 + number % 28:02}T07:00:00Z"},
        hostnames=[f"service-{number}.{team}.shop.example.com"],
        path={"value": f"/api/v{number % 3}/resource-{number}"},
        backends=[
            {"service": service, "tags": ["v2", f"zone-{number % 3}"], "weight": 90},
            {"service": f"{service}-canary", "weight": 10},
        ],
        health={"onEmpty": "KeepLast", "minHealthy": 2, "maxAge": "10m"},
        balancing={"algorithm": "LeastConnections", "keepalive": {"connections": 16}},
        timeouts={"connect": "2s", "read": "30s", "send": "30s"},
    )


def mappings(count):
    return {raw["metadata"]["uid"]: essence(raw) for raw in map(elaborate, range(count))}


def texts_of(raws):
    """What nginx runs of these mappings, but for endpoints."""
    parsed = [parse_service_mapping(raw) for raw in raws.values()]
    plan = planned(
        load_balancer=load_balancer(),
        mappings=parsed,
        snapshot={q: Observation(instances=(instance(),)) for m in parsed for q in m.queries},
    )
    return exchangeable(render(configuration=plan.configuration, layout=Layout()).files)


def held(count):
    """Instances of one service, as the registrar registers them."""
    return Recollection(
        at=1795331400.0,
        instances=tuple(
            Instance(
                id=f"web-{uid(n)}",
                node=f"node-{n % 300}",
                address=f"10.{n % 250}.{n // 250 % 250}.{n % 7}",
                port=20_000 + n,
                health=Health.PASSING,
                pod=PodMark(cluster="c", namespace="shop", uid=uid(n)),
            )
            for n in range(count)
        ),
        history={},
    )


def size(fit):
    return len(b64decode(fit.data[STATE_KEY]))


def test_a_thousand_mappings_and_all_instances_that_are_held_have_room_many_times_over():
    raws = mappings(1000)
    state = State(load_balancer=EDGE, mappings=raws, proven=texts_of(raws), held={"a": held(5000)})
    fit = fitted(state)
    assert fit.left_out == {}
    assert size(fit) < MAX_BYTES * 0.75
    assert decode_state(fit.data) == state


def test_texts_that_nginx_ran_go_first_the_largest_of_them_before_the_others():
    texts = {"listener-a.conf": noise(60_000), "listener-b.conf": "listen 80;"}
    state = State(load_balancer=EDGE, mappings=mappings(3), proven=texts)
    fit = fitted(state, limit=40_000)
    kept = decode_state(fit.data)
    assert kept.proven == {"listener-b.conf": "listen 80;"}
    assert (kept.mappings, fit.left_out) == (state.mappings, {"texts": 1})


def test_then_instances_that_are_held_and_then_mappings_last_those_in_use():
    raws = {f"uid-{n}": essence(mapping_raw(f"m-{n}", path={"value": noise(400)})) for n in "abcd"}
    state = State(load_balancer=EDGE, mappings=raws, proven={"t": noise(500)}, held={"h": held(20)})
    whole = size(fitted(state))
    left = [fitted(state, in_use={"uid-a"}, limit=limit) for limit in range(whole, 0, -50)]
    kept = [decode_state(fit.data) for fit in left]
    for one in kept:
        assert not one.proven or one.held
        assert not one.held or len(one.mappings) == 4
        assert not one.mappings or "uid-a" in one.mappings
        assert not one.mappings or one.load_balancer is not None
    assert {len(one.mappings) for one in kept} == {0, 1, 2, 3, 4}
    assert kept[-1] == State(), "the least that there is"


@pytest.mark.parametrize("count", [50, 3000])
def test_what_is_left_fits_and_is_not_much_less_than_it_could_be(count):
    raws = {
        f"uid-{n}": essence(mapping_raw(f"m-{n}", path={"value": noise(1_500_000 // count)}))
        for n in range(count)
    }
    fit = fitted(State(load_balancer=EDGE, mappings=raws))
    assert MAX_BYTES * 0.8 < size(fit) <= MAX_BYTES
    assert fit.left_out["mappings"] == count - len(decode_state(fit.data).mappings)


def test_people_are_told_what_is_left_out_and_what_to_do():
    told = remembered(left_out={"texts": 2, "mappings": 7}, refusal=None)
    assert (told.type, told.is_true, told.reason) == ("Remembered", False, "StateTooLarge")
    assert "2 texts of listeners that nginx ran, 7 mappings" in told.message
    assert "spread mappings" in told.message
    told = remembered(left_out={}, refusal="exceeded quota")
    assert (told.reason, "exceeded quota" in told.message) == ("StateRefused", True)


@pytest.fixture
async def flow():
    made = Flow()
    made.consul.says = {"my-web-server": (instance(),)}
    yield made
    await made.catalog.close()


async def test_what_has_no_room_is_known_to_the_process_also_after_everything_is_read_anew(
    flow, monkeypatch
):
    monkeypatch.setattr("consul_nginx.loops.memory.fitted", partial(fitted, limit=200))
    flow.put(mapping_raw(hostnames=["shop.example"]))
    programme = await flow.reconcile()
    assert flow.state.mappings == {}
    assert flow.load_balancers.forgotten(programme.load_balancer.meta.ref).left_out["mappings"] == 1
    flow.put(mapping_raw(hostnames=["shop.example"], listener="typo"))
    for _ in range(2):
        programme = await flow.reconcile()
        assert programme.plan.stand_ins.keys() == {"uid-web"}
        assert flow.served() == {"10.244.1.2"}
        flow.load_balancers.forget_observed(programme.load_balancer.meta.ref)


async def test_a_state_that_is_refused_stops_nothing_and_is_tried_again(flow):
    write = flow.kube.write

    async def refusing(kind, body):
        if body["metadata"]["name"] == "edge-state":
            raise KubeRefused("exceeded quota: one")
        return await write(kind, body)

    flow.kube.write = refusing
    flow.put(mapping_raw())
    programme = await flow.reconcile()
    edge = programme.load_balancer.meta.ref
    assert flow.served() == {"10.244.1.2"}
    assert flow.load_balancers.forgotten(edge).refusal == "exceeded quota: one"
    flow.kube.write = write
    await flow.reconcile()
    assert ("ConfigMap", "edge-state") not in flow.kube.items, "it is not tried at every turn"
    flow.load_balancers.forget_observed(edge)
    await flow.reconcile()
    assert flow.state.mappings.keys() == {"uid-web"}
    assert flow.load_balancers.forgotten(edge) is None
