"""What backends may ask of Consul: a real one answers, and a recorded one says the same."""

from __future__ import annotations

import json
import urllib.error
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consul_nginx.commands.snapshots import Recorded, SnapshotError, parse_snapshot
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ServiceQuery

INSTANCES = [
    {
        "ID": "f-1", "Name": "filtered", "Address": "10.0.0.1", "Port": 80, "Tags": ["v1", "blue"],
        "Meta": {"version": "1", "a-b": "yes"}, "Weights": {"Passing": 7, "Warning": 2},
        "TaggedAddresses": {"lan": {"Address": "10.1.0.1", "Port": 81}},
    },
    {
        "ID": "f-2", "Name": "filtered", "Address": "10.0.0.2", "Port": 80, "Tags": ["v2", "not"],
        "Meta": {"version": "2", "text": "one\ntwo\n"}, "EnableTagOverride": True,
    },
    {
        "ID": "f-3", "Name": "filtered", "Address": "10.0.0.3", "Port": 8080,
        "Meta": {"version": "2", "a-b": "no \\ yes"}, "Check": {"TTL": "1h"},
    },
    {"ID": "f-4", "Name": "filtered", "Port": 8081, "Tags": [""], "Check": {"TTL": "1h"}},
]  # fmt: skip

ANSWERED = {
    'Service.Meta.version == "2"': {"f-2", "f-3"},
    "Service.Meta.version == 2": {"f-2", "f-3"},
    "Service.Meta.version==2": {"f-2", "f-3"},
    'Service.Meta.version != "2"': {"f-1", "f-4"},
    '"blue" in Service.Tags': {"f-1"},
    "blue in Service.Tags": {"f-1"},
    'Service.Tags contains "blue"': {"f-1"},
    'Service.Tags not contains "blue"': {"f-2", "f-3", "f-4"},
    '"blue" not in Service.Tags': {"f-2", "f-3", "f-4"},
    '"" in Service.Tags': {"f-4"},
    "Service.Tags is empty": {"f-3"},
    "Service.Tags is not empty": {"f-1", "f-2", "f-4"},
    "Service.Meta is empty": {"f-4"},
    "version in Service.Meta": {"f-1", "f-2", "f-3"},
    "version not in Service.Meta": {"f-4"},
    'Service.Meta["a-b"] == yes': {"f-1"},
    "Service.Meta[`a-b`] == yes": {"f-1"},
    'Service.Meta["a-b"] contains yes': {"f-1", "f-3"},
    'Service.Meta["a-b"] not contains yes': {"f-2", "f-4"},
    r'Service.Meta["a-b"] == "no \\ yes"': {"f-3"},
    r"Service.Meta[`a-b`] == `no \ yes`": {"f-3"},
    r'Service.Meta.text == "one\ntwo\n"': {"f-2"},
    'Service.Meta.version matches "^[12]$"': {"f-1", "f-2", "f-3", "f-4"},
    'Service.Meta.version not matches "^1$"': {"f-2", "f-3", "f-4"},
    'Service.Meta.text matches "two$" and Service.Meta is not empty': {"f-1", "f-3"},
    r"Service.Address matches `^10\.0\.0\.[12]$`": {"f-1", "f-2"},
    'Service.Address matches "0.(?:1|3)"': {"f-1", "f-3"},
    "Service.Address contains 10": {"f-1", "f-2", "f-3"},
    'Service.Address == ""': {"f-4"},
    "Service.Port == 80": {"f-1", "f-2"},
    'Service.Port != "80"': {"f-3", "f-4"},
    "Service.Weights.Passing == 7": {"f-1"},
    "Service.EnableTagOverride == true": {"f-2"},
    "Service.EnableTagOverride != t": {"f-1", "f-3", "f-4"},
    "Service.TaggedAddresses.lan.Port == 81": {"f-1"},
    "Service.TaggedAddresses.lan.Port != 81": {"f-2", "f-3", "f-4"},
    "lan in Service.TaggedAddresses": {"f-1"},
    "Checks.Status == critical": {"f-3", "f-4"},
    'Checks.Status != "passing"': {"f-3", "f-4"},
    "not Checks.Status == critical": {"f-1", "f-2"},
    "blue in Checks.ServiceTags": set(),
    "Checks is empty": set(),
    "Node.Meta is not empty and Node.Datacenter == dc1": {"f-1", "f-2", "f-3", "f-4"},
    'Service.ID == "f-1" or Service.ID == "f-2" and Service.Port == 1': {"f-1"},
    '(Service.ID == "f-1" or Service.ID == "f-2") and Service.Port == 80': {"f-1", "f-2"},
    'Service.ID == "f-1" or (Service.ID == "f-2")': {"f-1", "f-2"},
    '(Service.ID == "f-1") or (Service.ID == "f-2")': {"f-1", "f-2"},
    ' ( ( Service.ID == "f-1" ) ) ': {"f-1"},
    'not not Service.ID == "f-1"': {"f-1"},
    'not (Service.ID == "f-1" or Service.ID == "f-2")': {"f-3", "f-4"},
    "not in Service.Tags": {"f-2"},
}
REFUSED = [
    "Service.Meta.version =",
    "Service.Meta.version",
    "Service.Nothing == 1",
    "Service.Meta.a.b == 1",
    "Service is empty",
    "Service.Address is empty",
    'Service.Tags == "a"',
    "Service.Port == eighty",
    "Service.Port contains 8",
    "Service.EnableTagOverride == maybe",
    '(Service.ID == "f-1"',
    'Service.ID == "f-1")',
    'Service.ID == "f-1',
    'Service.ID == "f-1"or Service.ID == "f-2"',
    'Service.ID == "f-1" AND Service.ID == "f-2"',
    'Service.ID matches "("',
    'Service.ID matches "(?=a)"',
    "Service.ID == f-1",
    "Service.Tags.",
    "Service.Port == 080",
    'Service.Meta[version] == "2"',
    r'Service.ID == "\q"',
]


@pytest.fixture(scope="module")
def registered(consul):
    for instance in INSTANCES:
        consul.ask("agent/service/register", instance)
    yield
    for instance in INSTANCES:
        consul.ask(f"agent/service/deregister/{instance['ID']}", method="PUT")


@pytest.fixture
def recorded(consul, registered) -> Recorded:
    services = {"filtered": consul.ask("health/service/filtered")}
    return parse_snapshot(json.dumps({"datacenters": {"dc1": {"services": services}}}))


@pytest.fixture
def ask(consul, registered):
    """What the live Consul answers."""

    async def asked(**query):
        async with PooledTransport(address=consul.url) as http:
            found = await ConsulClient(http=http).service(
                query=ServiceQuery(service="filtered", **query)
            )
        return found.instances

    return asked


def test_more_than_one_is_registered(recorded):
    answer = recorded.observe(ServiceQuery(service="filtered")).instances
    assert {one.id for one in answer} == {"f-1", "f-2", "f-3", "f-4"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    ANSWERED.items(),
)
async def test_a_filter_chooses_instances(ask, recorded, expression, expected):
    live = await ask(filter=expression)
    assert {one.id for one in live} == expected
    query = ServiceQuery(service="filtered", filter=expression)
    assert recorded.observe(query).instances == live


@pytest.mark.parametrize("expression", REFUSED)
async def test_a_wrong_filter_is_refused_by_consul_and_by_a_snapshot(ask, recorded, expression):
    with pytest.raises(ConsulRefused) as refusal:
        await ask(filter=expression)
    assert str(refusal.value).startswith("HTTP 500 filter: ")
    with pytest.raises(SnapshotError) as refused:
        recorded.observe(ServiceQuery(service="filtered", filter=expression))
    assert f"filter {expression}: " in str(refused.value)


def test_what_consul_could_filter_by_and_a_snapshot_cannot_is_told(consul, recorded):
    for expression in ("Service.Connect.Native == true", "Service.ID matches `(?i)F`"):
        assert consul.ask(f"health/service/filtered?filter={quote(expression)}") is not None
        with pytest.raises(SnapshotError, match=r"can't be asked|may mean something else"):
            recorded.observe(ServiceQuery(service="filtered", filter=expression))


FIELDS = st.sampled_from(
    ["Service.Meta", "Service.Meta.version", 'Service.Meta["a-b"]', "Service.Meta.text",
     "Service.Tags", "Service.Address", "Service.Port", "Service.Weights.Passing", "Checks",
     "Checks.Status", "Checks.ServiceTags", "Service.TaggedAddresses.lan.Port", "not", "Service"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["1", "2", "80", "blue", "v1", "critical", "yes", "lan", "version", "not", '""', '"1|2"',
     "`^$`", '"^2$"', "true", "-1", "0.5", r'"one\ntwo\n"', "a.b"]
)  # fmt: skip
COMPARISONS = st.one_of(
    st.builds(
        " ".join,
        st.tuples(
            FIELDS,
            st.sampled_from(["==", "!=", "contains", "not contains", "matches", "not matches"]),
            VALUES,
        ),
    ),
    st.builds(" ".join, st.tuples(FIELDS, st.sampled_from(["is empty", "is not empty"]))),
    st.builds(" ".join, st.tuples(VALUES, st.sampled_from(["in", "not in"]), FIELDS)),
)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(expression=EXPRESSIONS)
def test_a_snapshot_answers_any_expression_as_consul_does(consul, recorded, expression):
    query = ServiceQuery(service="filtered", filter=expression)
    try:
        entries = consul.ask(f"health/service/filtered?filter={quote(expression)}")
    except urllib.error.HTTPError:
        with pytest.raises(SnapshotError):
            recorded.observe(query)
        return
    said = recorded.observe(query).instances or ()
    assert {one.id for one in said} == {entry["Service"]["ID"] for entry in entries}


@pytest.mark.parametrize("query", [{"namespace": "shop"}, {"partition": "eu"}], ids=str)
async def test_what_only_enterprise_has_is_refused_in_words(ask, recorded, query):
    with pytest.raises(ConsulRefused, match="Enterprise feature"):
        await ask(**query)
    with pytest.raises(SnapshotError, match="namespace and partition of Consul Enterprise"):
        recorded.observe(ServiceQuery(service="filtered", **query))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tags": ("v1",)}, {"f-1"}),
        ({"tags": ("blue", "v1")}, {"f-1"}),
        ({"tags": ("v1", "v2")}, set()),
        ({"tags": ("v2",), "filter": "Service.Port == 8080"}, set()),
        ({"datacenter": "dc1", "filter": "Service.Port == 8080"}, {"f-3"}),
    ],
    ids=str,
)
async def test_all_that_is_asked_has_to_hold(ask, recorded, query, expected):
    live = await ask(**query)
    assert {one.id for one in live} == expected
    assert recorded.observe(ServiceQuery(service="filtered", **query)).instances == live


async def test_an_unknown_datacenter_is_a_state_that_may_pass(ask):
    with pytest.raises(ConsulUnavailable, match="No path to datacenter"):
        await ask(datacenter="dc7")
