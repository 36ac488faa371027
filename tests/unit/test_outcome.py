"""What came of a comparison, and what is said of it."""

from __future__ import annotations

import dataclasses

from consul_nginx.model.registration import Change, Changes
from consul_nginx.registrar.outcome import Outcome, Settled, Wish, WishesOfNode
from unit.test_difference import held, registration
from unit.test_pods import parse, raw

NOTHING = Changes()
WEB = registration("web")
POD = dataclasses.replace(parse(raw()), uid=WEB.owner.pod_uid)
ASKED = WishesOfNode(
    wishes=(Wish(pod=POD, registrations=(WEB,), warnings=()),), registrations=(WEB,)
)


def outcome(changes: Changes = NOTHING, **refused: str) -> Outcome:
    return Outcome(asked=ASKED, changes=changes, refused=refused)


def test_what_was_written_or_was_there_already_is_settled() -> None:
    assert outcome().settled() == Settled(asked=ASKED, written={"web": WEB})


def test_what_consul_refuses_is_not_settled_and_the_pod_is_told_why() -> None:
    changes = Changes(register=(Change(before=None, after=WEB),))
    found = outcome(changes, web="Permission denied")
    assert found.settled() == Settled(asked=ASKED, refused=1)
    (told,) = found.told()
    assert [warning.reason for warning in told.warnings] == ["RefusedByConsul"]
    assert "Permission denied" in told.warnings[0].message
    assert not told.registered


def test_a_pod_is_told_once_what_it_is_called_in_consul() -> None:
    first = outcome(Changes(register=(Change(before=None, after=WEB),)))
    again = outcome(Changes(register=(Change(before=held(WEB), after=WEB),)))
    assert [told.registered for told in first.told()] == [(WEB,)]
    assert again.told() == ()


def test_only_what_its_pod_did_not_change_is_drift() -> None:
    changes = Changes(register=(Change(before=None, after=WEB),))
    assert outcome(changes).drift(Settled(written={"web": WEB})) == {"web"}
    assert outcome(changes).drift(Settled(written={"web": registration("web", port=1)})) == set()
    assert outcome(changes).drift(Settled()) == set()
