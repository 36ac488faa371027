"""`make bench-mappings`: what it costs to plan and render many mappings, all of them or one change.

python -m bench.mappings [--mappings N] [--instances N]        needs nothing but this checkout
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from bench import machine
from cluster.harness.report import heading, line, table
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.consul import Observation, Snapshot
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.nginx.render import render
from consul_nginx.plan.load_balancer import bound
from unit.factories import instance, load_balancer, mapping, planned

RUNS = 20


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a LoadBalancer's nginx is made from."""

    edge: LoadBalancer
    mappings: Sequence[ServiceMapping]
    snapshot: Snapshot


def fresh(*, mappings: int, instances: int) -> Input:
    """Objects that no plan has seen."""
    edge = load_balancer()
    found = [
        mapping(
            f"mapping-{number}",
            hostnames=[f"host-{number % 200}.example.com"],
            path={"value": f"/path-{number}"},
            backends=[{"service": f"service-{number}"}],
        )
        for number in range(mappings)
    ]
    return Input(
        edge=edge,
        mappings=found,
        snapshot={
            item.queries[0]: _observed(number, instances=instances)
            for number, item in enumerate(found)
        },
    )


def _observed(number: int, *, instances: int, port: int = 8080) -> Observation:
    base = number * instances
    addresses = (
        f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(base, base + instances)
    )
    return Observation(instances=tuple(instance(address, port) for address in addresses))


def bundle_of(given: Input) -> Bundle:
    """All that is done for a change, from the resources to the files."""
    plan = planned(
        load_balancer=given.edge,
        mappings=[bound(mapping=item, load_balancer=given.edge) for item in given.mappings],
        snapshot=given.snapshot,
    )
    return render(configuration=plan.configuration, layout=Layout())


def seconds(run: Callable[[], Any]) -> float:
    """CPU time, so that what else the machine does counts less."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


@click.command()
@click.option("--mappings", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--instances", default=10, show_default=True, type=click.IntRange(min=1))
def main(mappings: int, instances: int) -> None:
    """Measure and print."""
    heading(f"{mappings} mappings with {instances} instances each, {RUNS} times")
    everything = [
        seconds(lambda given=given: bundle_of(given))
        for given in (fresh(mappings=mappings, instances=instances) for _ in range(RUNS))
    ]
    given = fresh(mappings=mappings, instances=instances)
    before = bundle_of(given)
    changes = []
    for run in range(RUNS):
        query = given.mappings[run % mappings].queries[0]
        changed = _observed(run % mappings, instances=instances, port=9000 + run)
        given = Input(
            edge=given.edge,
            mappings=given.mappings,
            snapshot={**given.snapshot, query: changed},
        )
        changes.append(seconds(lambda given=given: bundle_of(given)))
        after = bundle_of(given)
        assert len(set(after.files.items()) - set(before.files.items())) == 2  # its file, the hash
        before = after
    table(
        [
            ["CPU time in ms", "median", "worst"],
            ["everything", *_figures(everything)],
            ["one backend changed", *_figures(changes)],
        ]
    )
    line("ratio", f"{statistics.median(everything) / statistics.median(changes):.1f}")
    line("machine", f"{machine.describe()['cpu']}, {machine.describe()['cpus']} cores")


def _figures(found: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(found) * 1000:.0f}", f"{max(found) * 1000:.0f}"


if __name__ == "__main__":
    main()
