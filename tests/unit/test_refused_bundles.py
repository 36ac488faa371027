"""What nginx refuses of a bundle is tried in other forms, and only so many times."""

from __future__ import annotations

import pytest

from consul_nginx.model.pods import PodRejection
from unit.factories import instance, mapping_raw
from unit.flow import EDGE, Flow

TWO = [{"name": "http", "port": 80}, {"name": "other", "port": 81}]


@pytest.fixture
async def flow():
    made = Flow(listeners=TWO)
    made.consul.says = {"my-web-server": (instance(),)}
    made.put(mapping_raw("web"))
    made.put(mapping_raw("two", listener="other"))
    yield made
    await made.catalog.close()


def file_of(flow, port):
    [name] = [name for name, text in flow.files.items() if f"listen {port} " in text]
    return name


def nothing(_file, _text):
    return False


async def tell(flow, *, refuses, rounds=12):
    """Reconcile, and have nginx refuse what it ``refuses``; returns each bundle that was tried."""
    tried = []
    for _ in range(rounds):
        programme = await flow.reconcile()
        if not tried or programme.bundle.hash != tried[-1]:
            tried.append(programme.bundle.hash)
        blamed = tuple(name for name, text in flow.files.items() if refuses(name, text))
        if blamed:
            rejection = PodRejection(
                hash=programme.bundle.hash, stage="test", message="no", files=blamed
            )
            flow.load_balancers.rejected(EDGE, rejection)
        else:
            flow.load_balancers.proved(EDGE, programme)
    return tried, programme


async def test_a_form_before_that_is_refused_too_is_tried_once_and_the_listener_left_out(flow):
    await tell(flow, refuses=nothing)
    name, other = file_of(flow, 81), file_of(flow, 80)
    flow.put(mapping_raw("two", listener="other", hostnames=["new.example"]))
    tried, programme = await tell(flow, refuses=lambda file, text: file == name and text)
    assert len(tried) == 3
    assert len(set(tried)) == 3
    assert flow.files[name] == ""
    assert "listen 80 " in flow.files[other]
    assert programme.rejected["other"] == (
        "test: no; what nginx ran of it before is refused as well: test: no; it is left out"
    )


async def test_where_every_form_is_refused_it_rests_all_the_same(flow):
    await tell(flow, refuses=nothing)
    name = file_of(flow, 81)
    flow.put(mapping_raw("two", listener="other", hostnames=["new.example"]))
    tried, _ = await tell(flow, refuses=lambda file, _: file == name)
    assert len(tried) == 4


async def test_two_files_that_are_refused_in_turns_come_to_rest(flow):
    await tell(flow, refuses=nothing)
    names = (file_of(flow, 80), file_of(flow, 81))
    for mapping, listener in (("web", "http"), ("two", "other")):
        flow.put(mapping_raw(mapping, listener=listener, hostnames=["new.example"]))
    turn = 0

    def refuses(file, _text):
        """Blames one file after the other, whatever is in it."""
        nonlocal turn
        if file not in names:
            return False
        turn += 1
        return file == names[turn // 2 % 2]

    tried, _ = await tell(flow, refuses=refuses, rounds=40)
    assert len(tried) <= 7
