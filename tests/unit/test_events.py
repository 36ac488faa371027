"""What people hear of, and how often."""

from __future__ import annotations

from consul_nginx.kube.client import SERVICE_MAPPING
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.kube.events import news
from consul_nginx.loops.events import BURST, Events
from consul_nginx.model.verdict import Condition, Status, accepted, rejected
from unit.factories import mapping

NO = rejected(reason="Conflicted", message="belongs to the older one")


def status(condition):
    item = {"type": condition.type, "status": condition.status.value, "reason": condition.reason}
    return {"conditions": [item]}


def test_a_condition_that_says_the_same_is_no_news():
    assert list(news(verdicts=[NO], before=status(NO))) == []


def test_another_reason_is_news_and_another_wording_is_not():
    assert list(news(verdicts=[NO], before=status(accepted()))) == [NO]
    worded = rejected(reason="Conflicted", message="in other words")
    assert list(news(verdicts=[worded], before=status(NO))) == []


def test_what_is_pending_and_what_only_repeats_others_is_no_news():
    pending = Condition(type="Programmed", status=Status.FALSE, reason="Pending", message="soon")
    ready = Condition(type="Ready", status=Status.TRUE, reason="Ready", message="")
    not_told = Condition(
        type="Programmed", status=Status.FALSE, reason="NotAccepted", message="nginx is not told"
    )
    assert list(news(verdicts=[pending, ready, not_told, NO], before={})) == [NO]


class Posted(list):
    """The one call of the client that Events make (unit level only)."""

    async def apply(self, _kind, body):
        self.append(body)


async def test_an_event_names_its_object_and_counts():
    posted = Posted()
    events, meta = Events(kube=posted), mapping().meta
    for _ in range(2):
        await events.post(kind=SERVICE_MAPPING, meta=meta, conditions=[NO])
    first, second = posted
    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert (first["count"], second["count"]) == (1, 2)
    assert first["involvedObject"]["uid"] == meta.uid
    assert (first["type"], first["reason"]) == ("Warning", "Conflicted")


async def test_an_object_that_flaps_does_not_flood_the_api_server():
    posted = Posted()
    events, meta = Events(kube=posted), mapping().meta
    for _ in range(10 * BURST):
        await events.post(kind=SERVICE_MAPPING, meta=meta, conditions=[NO])
    assert len(posted) == BURST


async def test_an_event_that_is_refused_stops_nothing():
    class Refusing:
        async def apply(self, _kind, _body):
            raise KubeRefused("forbidden: events")

    await Events(kube=Refusing()).post(
        kind=SERVICE_MAPPING, meta=mapping().meta, conditions=[NO, accepted()]
    )
