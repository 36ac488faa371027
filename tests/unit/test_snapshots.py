"""Files with what Consul said: what they answer, and what is said of those that are none."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.commands.snapshots import SnapshotError, parse_snapshot
from consul_nginx.model.consul import ConsulSource, Health, ServiceQuery


def entry(number: int = 1, **service: Any) -> dict[str, Any]:
    return {
        "Node": {"Node": "node-1", "Address": "192.0.2.1"},
        "Service": {"ID": f"web-{number}", "Address": f"10.0.0.{number}", "Port": 80, **service},
        "Checks": [],
    }


def snapshot(services: Any, *, own: str = "", **others: Any):
    content = {"datacenters": {"dc1": {"services": services}, **others}}
    return parse_snapshot(json.dumps(content), own=own)


def ids(recorded, service: str = "web", **query: Any) -> list[str]:
    answer = recorded.observe(ServiceQuery(service=service, **query))
    return [instance.id for instance in answer.instances or ()]


def test_a_service_is_answered_and_one_that_is_not_there_is_empty_not_unknown():
    recorded = snapshot({"web": [entry()]})
    assert ids(recorded) == ["web-1"]
    assert recorded.observe(ServiceQuery(service="api")).instances == ()


@pytest.mark.parametrize(
    ("tags", "found"),
    [((), [1, 2, 3]), (("v2",), [1, 2]), (("blue", "v2"), [2]), (("red",), [])],
)
def test_tags_are_compared_as_consul_does_it(tags, found):
    recorded = snapshot(
        {"web": [entry(1, Tags=["V2"]), entry(2, Tags=["v2", "Blue", 5]), entry(3, Tags=None)]}
    )
    assert ids(recorded, tags=tags) == [f"web-{number}" for number in found]


def test_names_of_services_are_compared_as_consul_does_it():
    assert ids(snapshot({"Web": [entry()]}), "wEB") == ["web-1"]


def test_a_backend_without_a_datacenter_asks_the_agents_own():
    other = {"services": {"web": [entry(2)]}}
    assert ids(snapshot({"web": [entry()]})) == ["web-1"]
    assert ids(snapshot({"web": [entry()]}, dc2=other, own="dc2")) == ["web-2"]
    recorded = snapshot({"web": [entry()]}, dc2=other)
    assert ids(recorded, datacenter="dc2") == ["web-2"]
    with pytest.raises(SnapshotError, match="datacenters: dc1, dc2: it has several, and web is"):
        recorded.observe(ServiceQuery(service="web"))


def test_there_is_one_consul_in_it_whatever_address_is_named():
    source = ConsulSource(address="http://consul.blog:8500")
    assert ids(snapshot({"web": [entry()]}), source=source) == ["web-1"]


def test_a_malformed_entry_costs_itself():
    recorded = snapshot({"web": [entry(1), {"Service": 5}, None, entry(2, Port="80")]})
    answer = recorded.observe(ServiceQuery(service="web")).instances
    assert [item.health for item in answer or ()].count(Health.MALFORMED) == 3
    assert ids(recorded, tags=("v2",)) == []


def test_a_service_that_nobody_asks_for_costs_nothing():
    assert ids(snapshot({"web": [entry()], "odd": [5]})) == ["web-1"]


def test_a_service_without_one_readable_entry_is_no_answer_of_consuls():
    with pytest.raises(SnapshotError, match=r"dc1\.services\.web: no entry is an inst"):
        snapshot({"web": [5]}).observe(ServiceQuery(service="web"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("9" * 5000, "not JSON: "),
        ("\ufeff{}", "not JSON: "),
        ("[]", "not an object"),
        ("{}", "datacenters is missing"),
        ('{"dc1": {}}', "dc1: there is no such field; there is datacenters"),
        ('{"datacenters": []}', "datacenters: not an object"),
        ('{"datacenters": {"dc1": null}}', "datacenters.dc1: not an object"),
        ('{"datacenters": {"dc1": {"service": {}}}}', "datacenters.dc1.service: there is no such"),
        ('{"datacenters": {"dc1": {"services": []}}}', "datacenters.dc1.services: not an object"),
        ('{"datacenters": {"dc1": {"services": {"a": {}}}}}', "services.a: not a list of"),
        ('{"datacenters": {"dc1": {"services": {"a": [], "A": []}}}}', "services.A: the same"),
        ('{"datacenters": {"dc1": {"kv": {"a/b": 5}}}}', "datacenters.dc1.kv.a/b: not a text"),
        ('{"datacenters": {"dc1": {"kv": []}}}', "datacenters.dc1.kv: not an object"),
        ('{"datacenters": {"\\u001b[2J\\ud800": 5}}', r"datacenters.\\x1b[2J\\ud800: not an"),
    ],
)
def test_what_is_no_snapshot_is_refused_with_its_place(text, words):
    with pytest.raises(SnapshotError) as refused:
        parse_snapshot(text)
    assert words.replace("\\\\", "\\") in str(refused.value)
    assert str(refused.value).isprintable()


def test_the_datacenter_that_is_named_must_be_in_it():
    with pytest.raises(SnapshotError, match="datacenters: dc1: --datacenter dc9 is not in it"):
        snapshot({}, own="dc9")
    assert ids(parse_snapshot('{"datacenters": {}}', own="dc9")) == []


_KEYS = st.sampled_from(
    ["datacenters", "dc1", "services", "kv", "web", "Node", "Service", "Checks", "Status", "Tags",
     "Address", "Port", "ID", "Weights", "Passing"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def _reads_or_refuses(text: str) -> None:
    """Nothing else than ``SnapshotError`` comes out, and it can be shown."""
    try:
        recorded = parse_snapshot(text)
        for tags in ((), ("v2",)):
            recorded.observe(ServiceQuery(service="web", tags=tags))
    except SnapshotError as error:
        str(error).encode()


@given(st.text() | _JSON.map(json.dumps))
def test_anything_is_read_or_refused(text):
    _reads_or_refuses(text)


@given(_JSON, st.lists(_JSON, max_size=4))
def test_anything_in_the_place_of_entries_is_read_or_refused(services, entries):
    _reads_or_refuses(json.dumps({"datacenters": {"dc1": {"services": services}}}))
    _reads_or_refuses(json.dumps({"datacenters": {"dc1": {"services": {"web": entries}}}}))


@given(st.lists(_JSON, max_size=4), st.integers(0, 4))
def test_malformed_entries_never_cost_a_good_one(strange, position):
    entries = [*strange]
    entries.insert(position, entry(1, Tags=["v2"]))
    assert "web-1" in ids(snapshot({"web": entries}))
    assert "web-1" in ids(snapshot({"web": entries}), tags=("v2",))


def test_a_filter_lets_through_what_consul_would_and_nothing_that_is_not_consuls():
    entries = [
        entry(1, Meta={"version": "2"}),
        entry(2, Meta={"version": "1"}),
        entry(3, Meta=["version"]),
    ]
    assert ids(snapshot({"web": entries}), filter='Service.Meta.version == "2"') == ["web-1"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"filter": "Service.Meta.version = 2"}, "web filter Service.Meta.version = 2: it can't"),
        ({"filter": "Service.Proxy is empty"}, "a snapshot can't be asked for Service.Proxy"),
        ({"filter": "(" * 500}, "too many parentheses"),
        ({"namespace": "shop"}, "web namespace shop: a snapshot does not say of which namespace"),
        ({"partition": "eu"}, "web partition eu: a snapshot does not say of which namespace"),
    ],
    ids=["no filter", "another field", "deep", "namespace", "partition"],
)
def test_what_a_snapshot_cannot_answer_is_told_also_of_a_service_that_is_not_there(query, words):
    with pytest.raises(SnapshotError, match=re.escape(words)):
        ids(snapshot({}), **query)


@given(text=st.text(alphabet="()[]\"`'=!. abinortSeviceTgM01\\", max_size=60))
def test_any_filter_is_a_filter_or_told_of(text):
    with contextlib.suppress(SnapshotError):
        ids(snapshot({"web": [entry()]}), filter=text)
