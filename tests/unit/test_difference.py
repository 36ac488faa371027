"""What has to be written to Consul: wanted and held in, writes out."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.registration import Changes, Content, Held, Owner, Registration
from consul_nginx.registrar.difference import claims, difference

OURS = Owner(cluster="prod", namespace="shop", pod="web-0", pod_uid="uid-0")


def registration(
    identity: str = "web",
    *,
    owner: Owner = OURS,
    ready: bool = True,
    created: str = "",
    **content: Any,
) -> Registration:
    return Registration(
        content=Content(
            **{
                "id": identity,
                "name": "web",
                "address": "10.0.0.1",
                "port": 8080,
                "tags": (),
                "meta": owner.marks(),
                **content,
            }
        ),
        owner=owner,
        check=None,
        ready=ready,
        created=created,
    )


def held(item: Registration, *, version: int = 7) -> Held:
    return Held(
        content=item.content, owner=item.owner, ready=item.ready, version=version, ready_version=8
    )


def changes_of(
    wanted: list[Registration], held_now: list[Held], *, may_remove: bool = True
) -> Changes:
    return difference(
        wanted=wanted,
        held={item.content.id: item for item in held_now},
        cluster="prod",
        may_remove=lambda _: may_remove,
    )


def test_what_is_held_as_wanted_needs_no_write() -> None:
    assert not changes_of([registration()], [held(registration())])


def test_what_is_missing_is_registered() -> None:
    changes = changes_of([registration()], [])
    assert [(item.before, item.after) for item in changes.register] == [(None, registration())]


def test_what_differs_is_registered_over_what_was_read() -> None:
    before = held(registration(port=80))
    changes = changes_of([registration()], [before])
    assert [item.before for item in changes.register] == [before]
    assert not changes.remove


def test_only_readiness_is_written_when_only_that_differs() -> None:
    changes = changes_of([registration(ready=True)], [held(registration(ready=False))])
    assert len(changes.readiness) == 1
    assert not changes.register


def test_a_lost_readiness_check_is_written_with_the_whole_registration() -> None:
    without = dataclasses.replace(held(registration()), ready=None)
    assert len(changes_of([registration()], [without]).register) == 1


def test_what_is_not_wanted_is_removed() -> None:
    extra = held(registration("extra"))
    assert changes_of([registration()], [held(registration()), extra]).remove == (extra,)


def test_what_may_not_be_removed_stays() -> None:
    assert not changes_of([], [held(registration())], may_remove=False)


def test_a_new_pod_takes_over_the_id_of_an_old_one() -> None:
    new = registration(owner=dataclasses.replace(OURS, pod_uid="uid-1"))
    assert len(changes_of([new], [held(registration())]).register) == 1


def test_what_carries_no_mark_or_another_clusters_is_never_touched() -> None:
    foreign = dataclasses.replace(held(registration("db")), owner=None)
    others = held(registration("web", owner=dataclasses.replace(OURS, cluster="other")))
    changes = changes_of([registration()], [foreign, others])
    assert not changes
    assert [item.before for item in changes.taken] == [others]


def test_tags_that_others_may_override_are_not_fought_over() -> None:
    wanted = registration(tags=("v1",), enable_tag_override=True)
    tagged = held(registration(tags=("v1", "canary"), enable_tag_override=True))
    assert not changes_of([wanted], [tagged])


def test_the_oldest_pod_keeps_an_id_that_several_want() -> None:
    old = registration(created="2026-01-01T00:00:00Z")
    young = registration(
        created="2026-01-02T00:00:00Z", owner=dataclasses.replace(OURS, pod="web-1")
    )
    assert claims([young, old]) == ((old,), (young,))
    assert claims([old, young]) == ((old,), (young,))


owners = st.builds(
    Owner,
    cluster=st.sampled_from(["prod", "other"]),
    namespace=st.just("shop"),
    pod=st.sampled_from(["web-0", "web-1"]),
    pod_uid=st.sampled_from(["uid-0", "uid-1"]),
)
registrations = st.builds(
    lambda identity, port, ready: registration(identity, port=port, ready=ready),
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 3),
    st.booleans(),
)
helds = st.builds(
    lambda identity, owner, port, ready, marked: dataclasses.replace(
        held(registration(identity, owner=owner, port=port, ready=ready)),
        owner=owner if marked else None,
    ),
    st.sampled_from(["a", "b", "c"]),
    owners,
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(registrations), st.lists(helds))
def test_after_the_writes_nothing_is_left_to_write(
    asked: list[Registration], before: list[Held]
) -> None:
    wanted, _ = claims(asked)
    state = {item.content.id: item for item in before}
    changes = difference(wanted=wanted, held=state, cluster="prod", may_remove=lambda _: True)
    for item in changes.remove:
        assert item.owner is not None
        assert item.owner.cluster == "prod"
        del state[item.content.id]
    for change in (*changes.register, *changes.readiness):
        assert change.before is None or change.before.owner is not None
        state[change.after.content.id] = held(change.after)
    assert not difference(wanted=wanted, held=state, cluster="prod", may_remove=lambda _: True)
    foreign = [i for i in before if i.owner is None or i.owner.cluster != "prod"]
    last = {item.content.id: item for item in before}
    assert all(state[i.content.id] is i for i in foreign if last[i.content.id] is i)
