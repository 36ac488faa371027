"""The benches' pure halves: changes, figures, stages, and the report."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from bench.changes import Change, Kind, Operation, Service
from bench.figures import Measured, Sample, distribution, percentile
from bench.mappings import bundle_of, fresh
from bench.products import CONSUL_TEMPLATE, OPERATOR
from bench.report import markdown, report, rows
from bench.stages import Stages, stages
from cluster.harness.settings import REPOSITORY

PORTS = range(20000, 20060)


def applied(catalog: dict[str, tuple[int, str]], operations: tuple[Operation, ...]) -> set[int]:
    """Ports that pass after a transaction; ``catalog`` has port and state of each instance."""
    for operation in operations:
        match operation:
            case {"Service": {"Verb": "set", "Service": service}}:
                state = catalog.get(service["ID"], (0, "passing"))[1]
                catalog[service["ID"]] = (service["Port"], state)
            case {"Service": {"Verb": "delete", "Service": service}}:
                del catalog[service["ID"]]
            case {"Check": {"Verb": "set", "Check": check}}:
                port = catalog[check["ServiceID"]][0]
                catalog[check["ServiceID"]] = (port, check["Status"])
    return {port for port, state in catalog.values() if state == "passing"}


@pytest.fixture
def service() -> Service:
    return Service(name="web", address="10.0.0.1", ports=PORTS)


def some(service: Service, count: int) -> list[Change]:
    return list(itertools.islice(service.changes(), count))


def test_every_change_takes_one_instance_out_and_another_one_in(service: Service):
    catalog: dict[str, tuple[int, str]] = {}
    assert applied(catalog, service.registration()) == {service.port}
    for change in some(service, 200):
        assert change.new != change.old
        assert applied(catalog, change.operations) == {change.new}


def test_each_kind_of_change_is_made_equally_often(service: Service):
    assert set(Counter(change.kind for change in some(service, 30)).values()) == {10}


def test_a_port_rests_long_after_it_was_served(service: Service):
    """Or a late answer by an old worker could be taken for one by a new."""
    last: dict[int, int] = {}
    for number, change in enumerate(some(service, 500)):
        assert number - last.get(change.new, -1000) > 30
        last[change.old] = number


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_by_nearest_rank(percent: int, value: float):
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_of_one_value_every_percentile_is_that_value():
    assert distribution([None, 0.25]) == distribution([0.25])
    found = distribution([0.25])
    assert found is not None
    assert (found.count, found.p50, found.p99, found.max) == (1, 250, 250, 250)


def test_nothing_measured_has_no_distribution():
    assert distribution([None]) is None


OPERATOR_LOG = """\
{"time": "2026-11-22T10:00:00.060+00:00", "message": "bench/other: revision 9, bundle ab, written for nginx"}
{"time": "2026-11-22T10:00:01.035+00:00", "message": "bench/operator: revision 1795341601020, bundle ab, written for nginx"}
not JSON
{"time": "2026-11-22T10:00:02.050+00:00", "message": "bench/operator: revision 1795341602030, bundle cd, written for nginx"}
"""  # noqa: E501
AGENT_LOG = """\
{"time": "2026-11-22T10:00:01.150Z", "event": "nginx serves a new bundle", "revision": 1795341601020, "seconds": 0.1}
"""  # noqa: E501


def sample(*, at: float = 1795341601.0, first_new: float = 0.08) -> Sample:
    return Sample(at=at, kind="moved", written=0.01, first_new=first_new, last_old=0.2)


def test_the_logs_tell_how_far_a_change_had_come():
    [found] = stages(
        samples=[sample(), sample(at=1795341602.0), sample(at=1795341999.0)],
        operator_log=OPERATOR_LOG,
        agent_log=AGENT_LOG,
        load_balancer="bench/operator",
    )
    expected = Stages(consul=0.01, operator=0.02, config_map=0.035, agent=0.05, nginx=0.08)
    assert vars_of(found) == pytest.approx(vars_of(expected), abs=1e-6)


def vars_of(found: Stages) -> list[float]:
    return [found.consul, found.operator, found.config_map, found.agent, found.nginx]


def test_ratios_are_of_the_medians_of_both():
    raw = report(
        measured={
            OPERATOR: Measured(samples=[sample(first_new=0.06)]),
            CONSUL_TEMPLATE: Measured(samples=[sample(first_new=0.12)]),
        },
        stages=[],
        about={},
    )
    [row] = [row for row in rows(raw) if row[0] == "first answer by the new instance"]
    assert row[1:] == ("60", "60", "60", "120", "120", "120", "0.50")


def test_the_committed_page_is_what_the_committed_figures_say():
    folder = REPOSITORY / "docs" / "benchmarks"
    raw = json.loads((folder / "latency.json").read_text())
    assert (folder / "latency.md").read_text() == markdown(raw)


def test_every_kind_has_its_figures_in_the_report():
    raw = report(
        measured={name: Measured(samples=[sample()]) for name in (OPERATOR, CONSUL_TEMPLATE)},
        stages=[],
        about={},
    )
    assert set(raw["products"][OPERATOR]["first_new_by_kind"]) == {kind.value for kind in Kind}


@pytest.mark.parametrize("tls", [False, True])
def test_the_bench_of_mappings_makes_what_nginx_would_get(tls: bool):
    bundle = bundle_of(fresh(mappings=40, instances=2, tls=tls))
    assert sum(name.startswith("endpoints-") for name in bundle.files) == 40
    assert any(name.startswith("certificate-") for name in bundle.files) is tls
