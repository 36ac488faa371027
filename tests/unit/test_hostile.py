"""docs/hostile-values.md, row by row: what it says must happen does.

Its tables and those of hostile.py are held against each other: a row that one lacks fails.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulError
from consul_nginx.consul.fields import MalformedError
from consul_nginx.consul.health import parse_instances
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.layout import Layout
from consul_nginx.model.policy import Policy, Rule
from consul_nginx.nginx.render import render
from consul_nginx.plan.permissions import Permissions, consul_objection, template_objection
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.registrar.wanted import wanted
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.policy import PolicyError, parse_policy
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import (
    load_balancer,
    load_balancer_raw,
    mapping,
    mapping_raw,
    metadata,
    planned,
    selected,
)
from unit.hostile import (
    ACTS,
    ANNOTATIONS,
    ANSWERS,
    HEAVIEST,
    INSTANCES,
    LIGHTEST,
    MISSING,
    NODES_ADDRESS,
    NOT_PASSING,
    NOT_READ,
    NOT_WRITTEN,
    POLICIES,
    REFUSED,
    RESOURCES,
    TABLES,
    Row,
    changed,
    shown,
    spec_of,
    written,
)
from unit.registrar.pods import pod_raw
from unit.registrar.pods import settings as registration_settings


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


def hostile_entry(row: Row) -> Any:
    if row.field == "entry":
        return row.value
    harmless = entry(address="" if row.field == "Node.Address" else "10.244.1.5")
    return changed(harmless, row.field, row.value)


WEB = mapping(hostnames=["shop.example.com"], backends=[{"service": "web"}])


def files(entries: list[Any], **spec: Any) -> dict[str, str]:
    """What nginx is given when Consul answers that."""
    plan = planned(
        load_balancer=load_balancer(**spec),
        mappings=[WEB],
        snapshot={WEB.queries[0]: Observation(instances=parse_instances(entries))},
    )
    return dict(render(configuration=plan.configuration, layout=Layout()).files)


@named(INSTANCES)
def test_an_instance_costs_at_most_itself(row: Row):
    bad = json.loads(json.dumps(hostile_entry(row)))
    instances = parse_instances([bad, GOOD])
    selection = selected(instances)
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
    plan = planned(
        load_balancer=load_balancer(),
        mappings=[WEB],
        snapshot={
            WEB.queries[0]: Observation(instances=parse_instances([hostile_entry(row), GOOD])),
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
    kind, spec = spec_of(row)
    parse = parse_service_mapping if kind == "smap" else parse_load_balancer
    return parse({"metadata": metadata("hostile"), "spec": spec})


@named(RESOURCES)
def test_a_field_that_can_never_be_right_is_named(row: Row):
    """The API server refuses it first (tests/cluster/test_hostile.py); here is the second line."""
    parsed = hostile_resource(row)
    assert isinstance(parsed, Invalid)
    assert [problem.field for problem in parsed.problems] == [row.field.split(".", 1)[1]]


OWN = mapping("own", hostnames=["shop.example.com"], meta={"creationTimestamp": "2026-01-01"})


@named(ACTS)
def test_nobody_takes_what_belongs_to_others(row: Row):
    where, reason = row.field.partition(".")[2], row.outcome.split("`")[1]
    if row.field.startswith("nlb."):
        edge = parse_load_balancer(
            changed(load_balancer_raw(template={"configMapRef": {"name": "a"}}), where, row.value)
            if "template" in where
            else changed(load_balancer_raw(consul={}), where, row.value)
        )
        assert isinstance(edge, LoadBalancer)
        objection = consul_objection(load_balancer=edge, policy=Policy()) or template_objection(
            load_balancer=edge, policy=Policy()
        )
        assert objection is not None
        assert objection.reason == reason
        return
    value = [row.value] if where == "spec.hostnames" else row.value
    taker = parse_service_mapping(changed(mapping_raw("taker"), where, value))
    everybody = Rule(namespaces=("*",), hostnames=("*",), services=("web", "my-*"))
    plan = planned(
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
        "templates": [{"namespaces": ["a"], "kvPrefixes": ["a/"]}],
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
    selection = selected(found)
    assert "10.244.2.5" in {endpoint.address for endpoint in selection.endpoints}
    assert selection.total == len(found)


@given(answer=JSON)
def test_what_is_no_answer_is_an_error_of_one_kind(answer: Any):
    try:
        parse_instances(answer)
    except MalformedError:
        return
    assert type(answer) is list


def registered(annotations: dict[str, str]) -> tuple[dict[str, Any], set[str]]:
    """Registrations of two ports by their names, and reasons of warnings."""
    found = wanted(
        pod=parse_pod(pod_raw(annotations=annotations, ports=[80, 81])),
        settings=registration_settings(
            mode="agent",
            allowed_ips=["10.8.0.0/16"],
            rules=[{"namespaces": ["shop"], "services": ["web", "other"]}],
        ),
    )
    return (
        {item.content.name: item for item in found.registrations},
        {str(warning.reason) for warning in found.warnings},
    )


@named(ANNOTATIONS)
def test_a_hostile_annotation_costs_its_port_and_nothing_else(row: Row):
    harmless = {"SERVICE_80_NAME": "web", "SERVICE_81_NAME": "other"}
    check = "" if row.field.endswith("CHECK_SCRIPT") else "/"
    harmless["SERVICE_80_CHECK_HTTP"] = check
    before, reasons = registered(harmless)
    assert not reasons
    after, reasons = registered({**harmless, row.field: row.value})
    outcome, _, reason = row.outcome.partition(": ")
    assert reasons == {reason.strip("`")}
    assert after["other"] == before["other"]
    assert ("web" in after) is outcome.startswith("registered")
