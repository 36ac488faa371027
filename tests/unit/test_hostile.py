"""docs/hostile-values.md, row by row: what it says must happen does.

The tables here and there are held against each other: a row that one of them lacks fails.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import crossplane
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.health import MalformedError, parse_instances
from consul_nginx.consul.transport import MAX_ANSWER_BYTES, PooledTransport
from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.layout import Layout
from consul_nginx.model.policy import Policy, Rule
from consul_nginx.nginx.render import render
from consul_nginx.plan.endpoints import select_endpoints
from consul_nginx.plan.load_balancer import bound, plan_load_balancer
from consul_nginx.plan.permissions import Permissions, consul_objection
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.policy import PolicyError, parse_policy
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import load_balancer, load_balancer_raw, mapping, mapping_raw


@dataclass(frozen=True)
class Row:
    """Where, which value, and what must happen."""

    field: str
    value: Any
    outcome: str


def shown(value: Any) -> str:
    """A value as the document writes it: JSON, long text shortened."""
    if value is MISSING:
        return "missing"
    if isinstance(value, str) and len(value) > 60:
        return f"`{json.dumps(value[:8])[:-1]}…` {len(value):,} characters"
    return f"`{json.dumps(value)}`"


class _Missing:
    """Stands for a field that is not there."""


MISSING = _Missing()

NOT_AN_IP_ADDRESS = "dropped: `NotAnIPAddress`"
WITH_SCOPE = "dropped: `AddressWithScope`"
NOT_ROUTABLE = "dropped: `AddressNotRoutable`"
PORT_OUT_OF_RANGE = "dropped: `PortOutOfRange`"
MALFORMED = "dropped: `Malformed`"
NOT_WRITTEN = "served; it is written nowhere"
NOT_READ = "served; it is not read"
NODES_ADDRESS = "served at the node's address"
LIGHTEST = "served with weight 1"
HEAVIEST = "served with weight 65535"
NOT_PASSING = "not served, as any that is not passing"

LONG = "x" * 10_000

INSTANCES = [
    *(
        Row("Service.Address", value, NOT_AN_IP_ADDRESS)
        for value in (
            "1.2.3.4; } evil {", "10.0.0.1\n; } evil {", "10.0.0.1\0", "10.0.0.1 ", "10.0.0.1:80",
            "10.0.0.1/8", "010.0.0.1", "0x7f.0.0.1", "2130706433", "\u0661\u0660.0.0.1",
            "[2001:db8::1]", "localhost", "example.com", "$host", "unix:/run/status.sock", LONG,
        )
    ),
    Row("Service.Address", "fe80::1%eth0; } evil {", WITH_SCOPE),
    Row("Service.Address", "10.0.0.1%; } evil {", WITH_SCOPE),
    *(
        Row("Service.Address", value, NOT_ROUTABLE)
        for value in (
            "127.0.0.1", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "fe80::1",
            "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
        )
    ),
    Row("Service.Address", "", NODES_ADDRESS),
    Row("Service.Address", None, NODES_ADDRESS),
    Row("Service.Address", 167772161, MALFORMED),
    Row("Service.Address", ["10.0.0.1"], MALFORMED),
    Row("Node.Address", "10.0.0.1; } evil {", NOT_AN_IP_ADDRESS),
    Row("Node.Address", "", NOT_AN_IP_ADDRESS),
    Row("Node.Address", "127.0.0.1", NOT_ROUTABLE),
    Row("Node.Address", {}, MALFORMED),
    *(
        Row("Service.Port", value, PORT_OUT_OF_RANGE)
        for value in (-1, 0, 65536, 2**31, 2**63 - 1, 10**20, None, MISSING)
    ),
    *(
        Row("Service.Port", value, MALFORMED)
        for value in ("8080", 8080.0, True, [8080], float("inf"))
    ),
    Row("Service.Weights", {"Passing": 0}, LIGHTEST),
    Row("Service.Weights", {"Passing": -5}, LIGHTEST),
    Row("Service.Weights", {"Passing": 10**9}, HEAVIEST),
    Row("Service.Weights", None, LIGHTEST),
    *(
        Row("Service.Weights", value, MALFORMED)
        for value in ([1], "1", {"Passing": "1; } evil {"}, {"Passing": 1.5}, {"Passing": True})
    ),
    Row("Service.ID", "; } evil {\n", NOT_WRITTEN),
    Row("Service.ID", "../../kv/secret", NOT_WRITTEN),
    Row("Service.ID", LONG, NOT_WRITTEN),
    Row("Service.ID", None, MALFORMED),
    Row("Service.ID", 7, MALFORMED),
    Row("Service.Service", "../../kv/secret", NOT_READ),
    Row("Service.Tags", ["} evil {", "$host", "\n;"], NOT_READ),
    Row("Service.Tags", "no list", NOT_READ),
    Row("Service.Meta", {"a": "} evil {\n$host"}, NOT_READ),
    Row("Service.Meta", [], NOT_READ),
    Row("Service.SocketPath", "/run/evil.sock", NOT_READ),
    Row("Node.Node", "node; } evil {\n", NOT_WRITTEN),
    Row("Node.Node", LONG, NOT_WRITTEN),
    Row("Node.Node", None, MALFORMED),
    Row("Node.Meta", {"a": "} evil {"}, NOT_READ),
    Row("Checks[0].CheckID", "; } evil {\n", NOT_WRITTEN),
    Row("Checks[0].CheckID", "_node_maintenance", NOT_PASSING),
    Row("Checks[0].CheckID", 7, MALFORMED),
    Row("Checks[0].Status", "passing; }", NOT_PASSING),
    Row("Checks[0].Status", "PASSING", NOT_PASSING),
    Row("Checks[0].Status", None, MALFORMED),
    Row("Checks[0].Status", ["passing"], MALFORMED),
    Row("Checks[0].Output", "} evil {\n$host", NOT_READ),
    *(Row("Checks[0]", value, MALFORMED) for value in (None, [], "passing")),
    *(Row("Checks", value, MALFORMED) for value in (None, {}, "passing", MISSING)),
    *(Row("Service", value, MALFORMED) for value in (None, [], "web", MISSING)),
    *(Row("Node", value, MALFORMED) for value in (None, [], "node-1", MISSING)),
    *(Row("entry", value, MALFORMED) for value in (None, 1, "web", [])),
]  # fmt: skip

UNREACHABLE = "kept: `ConsulUnreachable`"
REFUSED = "kept: `ConsulRefused`"

ANSWERS = [
    *(
        Row("body", value, UNREACHABLE)
        for value in (
            "", "<html>", "null", '{"error": "x"}', "[1]", '[{"Node": {}}]', "[" * 100_000,
            "9" * 5_000, "[" + " " * MAX_ANSWER_BYTES + "]",
        )
    ),
    *(Row("X-Consul-Index", value, UNREACHABLE) for value in (MISSING, "x", "9" * 5_000)),
    Row("X-Consul-Results-Filtered-By-ACLs", "true", REFUSED),
    *(Row("status", value, UNREACHABLE) for value in (301, 404, 429, 500)),
    *(Row("status", value, REFUSED) for value in (400, 403)),
]  # fmt: skip

INVALID = "refused: `Invalid`"

RESOURCES = [
    *(Row("smap.spec.listener", value, INVALID) for value in ("http {", "HTTP", "")),
    *(
        Row("smap.spec.hostnames[0]", value, INVALID)
        for value in (
            "shop.example.com; } evil {", "shop.example.com\n", "a b", "$host", "*.example.com",
            "Shop.example.com", "例.example.com", "a..b", "", '"a"', "~^a", "x" * 254,
        )
    ),
    *(
        Row("smap.spec.path.value", value, INVALID)
        for value in (
            "/a b", "/a;", "/a{", "/$uri", "/a\n", "/a\0", '/"a"', "/a//b", "/é", "/%2e", "a", "",
            "/" + "x" * 600,
        )
    ),
    Row("smap.spec.path.type", "Regex", INVALID),
    *(
        Row("smap.spec.backends[0].service", value, INVALID)
        for value in ("../../kv/secret", "a/b", ".", "", "a b", "a\0", "a?dc=x", "x" * 129)
    ),
    *(
        Row("smap.spec.backends[0].tags[0]", value, INVALID)
        for value in ('x"; }', "$host", "a&dc=x", "", "a\n")
    ),
    *(Row("smap.spec.backends[0].datacenter", value, INVALID) for value in ("dc1&x", "../x", "")),
    *(Row("smap.spec.loadBalancerRef.name", value, INVALID) for value in ("../x", "Edge", "a\n")),
    *(Row("smap.spec.loadBalancerRef.namespace", value, INVALID) for value in ("../x", "a/b", "")),
    Row("smap.spec.snippet", "return 200;", INVALID),
    *(Row("nlb.spec.listeners[0].name", value, INVALID) for value in ("http {", "a\n", "")),
    *(Row("nlb.spec.listeners[0].port", value, INVALID) for value in (0, -1, 65536, 2**31, 80.5)),
    Row("nlb.spec.listeners[0].protocol", "SCTP", INVALID),
    *(
        Row("nlb.spec.consul.address", value, INVALID)
        for value in (
            "file:///etc/passwd", "http://consul;x", "http://u:p@consul", "http://consul/x", "x",
            "http://consul\n",
        )
    ),
    *(Row("nlb.spec.consul.datacenter", value, INVALID) for value in ("dc1&token=x", "a\n")),
    *(
        Row("nlb.spec.reload.keepaliveGrace", value, INVALID)
        for value in ("2s; } evil {", "-1s", "1d", "2", "2s\n", "99999h", "\u0662s")
    ),
    *(Row("nlb.spec.deployment.replicas", value, INVALID) for value in (-1, 101, 2**31)),
    Row("nlb.spec.deployment.kind", "Pod", INVALID),
    Row("nlb.spec.service.type", "ExternalName", INVALID),
    Row("nlb.spec.template", "{{ evil }}", INVALID),
]  # fmt: skip

ACTS = [
    Row("smap.spec.hostnames", "shop.example.com", "rejected: `Conflicted`"),
    Row("smap.spec.listener", "admin", "rejected: `NoMatchingListener`"),
    Row("smap.metadata.namespace", "blog", "rejected: `NotAllowedByLoadBalancer`"),
    Row("smap.spec.backends[0].service", "vault", "rejected: `NotPermitted`"),
    Row("nlb.spec.consul.address", "http://evil:80", "rejected: `ConsulAddressNotAllowed`"),
]

NOT_STARTED = "the operator does not start, and says why"

POLICIES = [
    *(
        Row("consulAddresses[0]", value, NOT_STARTED)
        for value in (
            "consul:8500", "file:///etc/passwd", "http://u:p@consul", "http://consul/x", "http://[",
            "http://consul:0", "http://consul:99999", "http://:80", "http://::1", "http://a..b",
            "http://" + "x" * 64,
        )
    ),
    *(Row("mappings[0].hostnames[0]", value, NOT_STARTED) for value in ("(a+)+$", "a b", "a\n")),
    *(Row("mappings[0].services[0]", value, NOT_STARTED) for value in ("../../kv/*", "", "$x")),
    *(Row("mappings[0].namespaces[0]", value, NOT_STARTED) for value in ("a/b", "")),
    Row("mappings[0].hosts", ["x"], NOT_STARTED),
]  # fmt: skip

TABLES = {
    "Instances": INSTANCES,
    "Answers": ANSWERS,
    "Fields of custom resources": RESOURCES,
    "What belongs to others": ACTS,
    "The operator's policy file": POLICIES,
}


def written(rows: list[Row]) -> Iterator[str]:
    """Lines of the document: what happens alike to values of one field is one line."""
    for (field, outcome), group in groupby(rows, key=lambda row: (row.field, row.outcome)):
        yield f"| `{field}` | {', '.join(shown(row.value) for row in group)} | {outcome} |"


def named(rows: list[Row]) -> Any:
    """One test per row, with a name that one finds in the document."""
    return pytest.mark.parametrize("row", rows, ids=[f"{r.field}={shown(r.value)}" for r in rows])


@pytest.mark.parametrize("title", TABLES)
def test_the_document_has_exactly_these_rows(repository: Path, title: str):
    text = (repository / "docs" / "hostile-values.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert lines == list(written(TABLES[title]))


def entry(node: str = "node-1", address: str = "10.244.1.5") -> dict[str, Any]:
    """A harmless entry, as Consul writes it."""
    return {
        "Node": {"Node": node, "Address": "192.0.2.1", "Meta": {}},
        "Service": {
            "ID": "web-1", "Service": "web", "Address": address, "Port": 8080, "Tags": [],
            "Meta": {}, "SocketPath": "", "Weights": {"Passing": 7, "Warning": 1},
        },
        "Checks": [{"CheckID": "service:web-1", "Status": "passing", "Output": ""}],
    }  # fmt: skip


GOOD = entry(node="node-2", address="10.244.2.5")


def changed(raw: Any, path: str, value: Any) -> Any:
    """``raw`` with another value, or none, at a path such as ``Checks[0].Status``."""
    keys: list[Any] = [
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)
    ]
    result = parent = copy.deepcopy(raw)
    for key in keys[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[keys[-1]]
    else:
        parent[keys[-1]] = value
    return result


def hostile_entry(row: Row) -> Any:
    if row.field == "entry":
        return row.value
    harmless = entry(address="" if row.field == "Node.Address" else "10.244.1.5")
    return changed(harmless, row.field, row.value)


WEB = mapping(hostnames=["shop.example.com"], backends=[{"service": "web"}])


def files(entries: list[Any], **spec: Any) -> dict[str, str]:
    """What nginx is given when Consul answers that."""
    plan = plan_load_balancer(
        load_balancer=load_balancer(**spec),
        mappings=[WEB],
        snapshot={WEB.backend: Observation(instances=parse_instances(entries))},
    )
    return dict(render(configuration=plan.configuration, layout=Layout()).files)


@named(INSTANCES)
def test_an_instance_costs_at_most_itself(row: Row):
    bad = json.loads(json.dumps(hostile_entry(row)))
    instances = parse_instances([bad, GOOD])
    selection = select_endpoints(instances)
    served = {endpoint.address: endpoint.weight for endpoint in selection.endpoints}
    dropped = [(item.reason, item.count) for item in selection.dropped]
    assert served.pop("10.244.2.5") == 7
    if row.outcome.startswith("dropped: "):
        assert (served, dropped) == ({}, [(row.outcome.split("`")[1], 1)])
        assert files([bad, GOOD]) == files([GOOD])
    elif row.outcome == NOT_PASSING:
        assert (served, dropped) == ({}, [])
    else:
        address = "192.0.2.1" if row.outcome == NODES_ADDRESS else "10.244.1.5"
        weight = {LIGHTEST: 1, HEAVIEST: 65535}.get(row.outcome, 7)
        assert (served, dropped) == ({address: weight}, [])
        if row.outcome in (NOT_WRITTEN, NOT_READ):
            assert files([bad, GOOD]) == files([entry(), GOOD])


@named([row for row in INSTANCES if row.outcome.startswith("dropped: ")])
def test_people_read_the_reason_in_few_and_printable_words(row: Row):
    plan = plan_load_balancer(
        load_balancer=load_balancer(),
        mappings=[WEB],
        snapshot={
            WEB.backend: Observation(instances=parse_instances([hostile_entry(row), GOOD])),
        },
    )
    [(_, verdict)] = plan.mappings
    message = verdict.resolved.message
    assert message.startswith("1 of 2 instances of web are served; 1 dropped: ")
    assert row.outcome.split("`")[1] in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300


@pytest.fixture
async def consul():
    """Answers over HTTP what the test says; by default one harmless instance."""
    state: dict[str, Any] = {
        "status": 200,
        "body": json.dumps([GOOD]),
        "headers": {"X-Consul-Index": "7"},
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=state["status"], text=state["body"], headers=state["headers"])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, max_field_size=16_384)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


@named(ANSWERS)
async def test_an_answer_that_is_not_consuls_changes_nothing(consul: dict[str, Any], row: Row):
    if row.field in ("body", "status"):
        consul[row.field] = row.value
    elif row.value is MISSING:
        del consul["headers"][row.field]
    else:
        consul["headers"][row.field] = row.value
        consul["body"] = "[]" if row.value == "true" else consul["body"]
    async with PooledTransport(address=consul["url"]) as transport:
        with pytest.raises(ConsulError) as error:
            await ConsulClient(http=transport).service(query=ServiceQuery(service="web"))
    assert error.value.kind == ("refused" if row.outcome == REFUSED else "unavailable")
    assert len(str(error.value)) < 400


def hostile_resource(row: Row) -> Any:
    kind, path = row.field.split(".", 1)
    if kind == "smap":
        raw = mapping_raw(
            hostnames=["shop.example.com"],
            path={"type": "Prefix", "value": "/"},
            backends=[{"service": "web", "tags": ["a"], "datacenter": "dc1"}],
        )
        return parse_service_mapping(changed(raw, path, row.value))
    raw = load_balancer_raw(consul={}, reload={}, deployment={}, service={})
    return parse_load_balancer(changed(raw, path, row.value))


@named(RESOURCES)
def test_a_field_that_can_never_be_right_is_named(row: Row):
    """The API server refuses it first (tests/cluster/test_hostile.py); here is the second line."""
    parsed = hostile_resource(row)
    assert isinstance(parsed, Invalid)
    assert [problem.field for problem in parsed.problems] == [row.field.split(".", 1)[1]]


OWN = mapping("own", hostnames=["shop.example.com"], meta={"creationTimestamp": "2026-01-01"})


@named(ACTS)
def test_nobody_takes_what_belongs_to_others(row: Row):
    where, reason = row.field.removeprefix("smap."), row.outcome.split("`")[1]
    if row.field.startswith("nlb."):
        objection = consul_objection(
            load_balancer=load_balancer(consul={"address": row.value}), policy=Policy()
        )
        assert objection is not None
        assert objection.reason == reason
        return
    value = [row.value] if where == "spec.hostnames" else row.value
    taker = parse_service_mapping(changed(mapping_raw("taker"), where, value))
    everybody = Rule(namespaces=("*",), hostnames=("*",), services=("web", "my-*"))
    plan = plan_load_balancer(
        load_balancer=load_balancer(),
        mappings=[OWN, taker],
        snapshot={},
        permissions=Permissions(policy=Policy(rules=(everybody,))),
    )
    verdicts = {item.meta.ref.name: verdict.accepted for item, verdict in plan.mappings}
    assert verdicts["own"].is_true
    assert (verdicts["taker"].is_true, verdicts["taker"].reason) == (False, reason)
    assert row.value in verdicts["taker"].message


@named(POLICIES)
def test_a_policy_that_is_none_is_refused_by_field(row: Row):
    policy = {
        "consulAddresses": ["http://consul:8500"],
        "mappings": [{"namespaces": ["a"], "hostnames": ["a"], "services": ["a"]}],
    }
    parse_policy(json.dumps(policy))
    with pytest.raises(PolicyError, match=re.escape(row.field)):
        parse_policy(json.dumps(changed(policy, row.field, row.value)))


def test_a_policy_runs_no_code():
    with pytest.raises(PolicyError, match="not YAML"):
        parse_policy('!!python/object/apply:os.system ["true"]')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = sorted({row.field for row in INSTANCES} - {"entry"})
MUTATED = st.builds(changed, st.just(entry()), st.sampled_from(PATHS), JSON)


@given(entries=st.lists(JSON | MUTATED, max_size=4))
def test_no_entry_takes_the_others_down(entries: list[Any]):
    found = parse_instances([*entries, GOOD])
    assert len(found) == len(entries) + 1
    selection = select_endpoints(found)
    assert "10.244.2.5" in {endpoint.address for endpoint in selection.endpoints}
    assert selection.total == len(found)


@given(answer=JSON)
def test_what_is_no_answer_is_an_error_of_one_kind(answer: Any):
    try:
        parse_instances(answer)
    except MalformedError:
        return
    assert type(answer) is list


ATTACKS = [row.value for row in INSTANCES + RESOURCES if isinstance(row.value, str)]
HOSTILE = (
    st.sampled_from(ATTACKS)
    | st.text(alphabet=st.sampled_from("a1.:;{}\"'\\$#%/[] \n\r\t\0é\u0663"), max_size=30)
    | st.text(max_size=30)
)
TEXTS = [
    "Service.Address", "Service.ID", "Service.Service", "Service.SocketPath", "Node.Node",
    "Node.Address", "Checks[0].CheckID", "Checks[0].Status", "Checks[0].Output",
]  # fmt: skip
SERVER = re.compile(
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}|unix:/run/consul-nginx/nginx/unavailable\.sock"
)


def tree(bundle: dict[str, str]) -> Any:
    """Directives and how many words each has; endpoints, which may come and go, are looked at."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in bundle.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        parsed = crossplane.parse(
            f"{folder}/nginx.conf", combine=True, check_ctx=False, check_args=False
        )
    assert parsed["errors"] == []
    return _shape(parsed["config"][0]["parsed"])


def _shape(block: list[dict[str, Any]]) -> list[Any]:
    shape: list[Any] = []
    for item in block:
        if item["directive"] == "server" and "block" not in item:
            assert SERVER.fullmatch(item["args"][0]), item
            assert re.fullmatch(r"(weight=\d{1,5})?", " ".join(item["args"][1:])), item
        else:
            shape.append((item["directive"], len(item["args"]), _shape(item.get("block", []))))
    return shape


HARMLESS = tree(files([entry(), GOOD]))


def with_texts(texts: dict[str, str], tags: list[str], meta: dict[str, str]) -> Any:
    raw = entry()
    for path, text in texts.items():
        raw = changed(raw, path, text)
    raw["Service"].update(Tags=tags, Meta=meta)
    return raw


@settings(max_examples=200, deadline=None)
@given(
    bad=st.builds(
        with_texts,
        st.dictionaries(st.sampled_from(TEXTS), HOSTILE),
        st.lists(HOSTILE, max_size=2),
        st.dictionaries(HOSTILE, HOSTILE, max_size=2),
    )
)
def test_nothing_in_consul_changes_the_tree_of_nginxs_directives(bad: Any):
    assert tree(files([bad, GOOD])) == HARMLESS


FIELDS = sorted(
    {row.field for row in RESOURCES if isinstance(row.value, str)}
    - {"smap.spec.snippet", "nlb.spec.template"}
)


def told(*, edge: Any, mappings: list[Any]) -> Any:
    """Tree of what nginx is told before Consul has answered."""
    plan = plan_load_balancer(
        load_balancer=edge,
        mappings=[bound(mapping=item, load_balancer=edge) for item in mappings],
        snapshot={},
    )
    return tree(dict(render(configuration=plan.configuration, layout=Layout()).files))


HARMLESS_ONES = [
    told(edge=load_balancer(), mappings=mappings)
    for mappings in ([], [WEB], [mapping(hostnames=["a"], path={"value": "/a"})])
]


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from(FIELDS), text=HOSTILE)
def test_nothing_in_a_custom_resource_changes_the_tree_of_nginxs_directives(field: str, text: str):
    parsed = hostile_resource(Row(field, text, ""))
    if isinstance(parsed, Invalid):
        return
    edge, web = (parsed, WEB) if field.startswith("nlb.") else (load_balancer(), parsed)
    assert told(edge=edge, mappings=[web]) in HARMLESS_ONES
