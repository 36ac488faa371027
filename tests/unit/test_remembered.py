"""What is remembered from one plan to the next: it must never be seen, but in time."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace

import pytest

from consul_nginx.model.consul import Observation
from consul_nginx.model.kubernetes import IpFamily
from consul_nginx.model.layout import Layout
from consul_nginx.model.remembered import by_identity
from consul_nginx.nginx.render import render
from consul_nginx.plan.load_balancer import bound
from unit.factories import instance, load_balancer, mapping, planned


@dataclass(frozen=True)
class Thing:
    name: str


@pytest.fixture
def calls():
    return []


@pytest.fixture
def named(calls):
    @by_identity
    def name(thing):
        calls.append(thing.name)
        return [thing.name]

    return name


def test_the_same_object_is_asked_about_once(named, calls):
    thing = Thing("a")
    assert named(thing) is named(thing)
    assert calls == ["a"]


def test_an_equal_one_is_another(named, calls):
    one, two = Thing("a"), Thing("a")
    assert named(one) is not named(two)
    assert calls == ["a", "a"]


def test_what_is_gone_is_forgotten_and_its_place_in_memory_taken_anew(named, calls):
    for number in range(1000):
        assert named(Thing(str(number))) == [str(number)]
    gc.collect()
    assert len(calls) == 1000
    assert named.__closure__ is not None
    [found] = [cell.cell_contents for cell in named.__closure__ if type(cell.cell_contents) is dict]
    assert not found


def one(name, **spec):
    return mapping(
        name, **{"hostnames": [f"{name}.example"], "backends": [{"service": name}], **spec}
    )


TCP = {"name": "tcp", "protocol": "TCP", "port": 90}
HTTP = {"name": "http", "port": 80}


def files(edge, mappings, snapshot):
    plan = planned(
        load_balancer=edge,
        mappings=[bound(mapping=item, load_balancer=edge) for item in mappings],
        snapshot=snapshot,
    )
    return dict(render(configuration=plan.configuration, layout=Layout()).files)


def steps():
    """One state after the other, as a running operator sees them: what did not change is kept."""
    edge = load_balancer(listeners=[HTTP, TCP])
    mappings = [one("a"), one("b"), mapping("c", listener="tcp", backends=[{"service": "a"}])]
    a, b = (item.queries[0] for item in mappings[:2])
    seen = {a: Observation(instances=(instance(),)), b: Observation(instances=(instance(),))}
    yield edge, list(mappings), dict(seen)
    seen[a] = Observation(instances=(instance("10.244.9.9", weight=3),))
    yield edge, list(mappings), dict(seen)
    seen[b] = Observation(instances=())
    yield edge, list(mappings), dict(seen)
    seen[b] = Observation()
    yield edge, list(mappings), dict(seen)
    mappings[1] = one("b", path={"value": "/b"}, balancing={"algorithm": "LeastConnections"})
    yield edge, list(mappings), dict(seen)
    mappings.pop(0)
    yield edge, list(mappings), dict(seen)
    mappings.append(one("a", backends=[{"service": "a"}, {"service": "b", "weight": 3}]))
    seen[b] = Observation(instances=(instance("10.244.7.7"), instance("10.244.7.8")))
    yield edge, list(mappings), dict(seen)
    edge = replace(edge, ip_families=(IpFamily.V4, IpFamily.V6))
    yield edge, list(mappings), dict(seen)
    edge = replace(edge, datacenter="dc2")
    yield edge, list(mappings), dict(seen)
    edge = load_balancer(listeners=[{**HTTP, "http2": True}, TCP])
    yield edge, list(mappings), dict(seen)


def test_after_every_change_the_files_are_those_of_a_fresh_start():
    """All objects made anew have nothing remembered of them."""
    running = [files(*state) for state in steps()]
    for number, expected in enumerate(running):
        *_, state = (item for position, item in enumerate(steps()) if position <= number)
        assert files(*state) == expected
    assert len({tuple(sorted(item.items())) for item in running}) >= 8
