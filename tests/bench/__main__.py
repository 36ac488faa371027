"""`make bench-latency`: how soon nginx follows Consul; ours and consul-template in one run.

python -m bench [--changes N]        needs the cluster of `make cluster`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import click

from bench import consul, machine, products, run
from bench.changes import Service
from bench.figures import distribution
from bench.products import CONSUL_TEMPLATE, OPERATOR, Product
from bench.report import Report, count_rows, markdown, report, rows, stage_rows
from bench.stages import Stages, stages
from cluster.harness import binaries
from cluster.harness.cluster import Cluster
from cluster.harness.report import HarnessError, heading, line, table
from cluster.harness.settings import REPOSITORY
from cluster.support import release
from cluster.support.instances import instances

DOCUMENTS = REPOSITORY / "docs" / "benchmarks"
FIRST_PORT = 20000
PORTS = 60  # of each product: far more than there are changes within keepaliveGrace
BLOCK = 25
FULL = 1000


@click.command()
@click.option(
    "--changes",
    default=FULL,
    show_default=True,
    type=click.IntRange(min=BLOCK),
    help="Changes for each product; the report is written from the default on.",
)
def main(changes: int) -> None:
    """Measure and print; a full run is written to docs/benchmarks/."""
    try:
        found = asyncio.run(_measure(Cluster.load(), changes=changes))
    except (AssertionError, HarnessError, OSError) as error:
        print(f"\nThe bench stopped: {error}", file=sys.stderr)
        sys.exit(1)
    _print(found)
    if changes >= FULL:
        DOCUMENTS.mkdir(exist_ok=True)
        (DOCUMENTS / "latency.json").write_text(json.dumps(found, indent=1) + "\n")
        (DOCUMENTS / "latency.md").write_text(markdown(found))
        line("written", f"{DOCUMENTS.relative_to(REPOSITORY)}/latency.json and latency.md")
    if found["products"][OPERATOR]["failures"]:
        sys.exit(1)


async def _measure(cluster: Cluster, *, changes: int) -> Report:
    """Install both, change Consul, and look; leaves the operator, and nothing else."""
    begun, when = time.monotonic(), datetime.now(UTC)
    heading("Install")
    release.Release(cluster=cluster).install()
    products.remove(cluster)
    services = _services(cluster)
    ports = range(FIRST_PORT, FIRST_PORT + PORTS * len(services))
    with instances(address=cluster.host_ip, ports=ports):
        async with consul.connect(cluster.consul_address) as catalog:
            for service in services.values():
                await catalog.write(service.registration())
            try:
                both = products.install(cluster)
                versions = _versions(cluster, both)
                line("products", f"{OPERATOR} and {CONSUL_TEMPLATE}, one nginx each")
                heading(f"{changes} changes for each, in turns, under load")
                subjects = [
                    run.Subject(product=product, changes=services[product.name].changes())
                    for product in both
                ]
                with machine.watched() as busy:
                    await _run(subjects, catalog=catalog, cluster=cluster, changes=changes)
                found = _stages(cluster, subject=subjects[0])
            finally:
                products.remove(cluster)
    return report(
        measured={subject.product.name: subject.measured for subject in subjects},
        stages=found,
        about={
            "when": when.strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - begun),
            "machine": machine.describe(),
            "busy": busy.share,
            "versions": versions,
            "block": BLOCK,
            "load": {
                "requests_per_s": run.REQUESTS_PER_S,
                "kept_connections": run.KEPT_CONNECTIONS,
                "connections_per_s": run.CONNECTIONS_PER_S,
            },
        },
    )


async def _run(
    subjects: Sequence[run.Subject], *, catalog: consul.Consul, cluster: Cluster, changes: int
) -> None:
    for subject in run.turns(subjects, blocks=-(-changes // BLOCK)):
        count = min(BLOCK, changes - subject.made)
        await run.run_block(subject=subject, consul=catalog, settings=cluster.settings, count=count)
        _tell(subject, count=count, changes=changes)
    line("TCP sessions", "waiting until nginx has cut the last ones")
    for subject in subjects:
        await run.finish(subject)


def _tell(subject: run.Subject, *, count: int, changes: int) -> None:
    measured = subject.measured
    found = distribution(item.first_new for item in measured.samples[-count:])
    assert found is not None
    line(
        subject.product.name,
        f"{subject.made:>5}/{changes}   first answer: p50 {found.p50:>4.0f} ms, "
        f"max {found.max:>4.0f} ms   {len(measured.failures)} failed",
    )


def _services(cluster: Cluster) -> dict[str, Service]:
    return {
        name: Service(
            name=products.service_of(name),
            address=cluster.host_ip,
            ports=range(FIRST_PORT + number * PORTS, FIRST_PORT + (number + 1) * PORTS),
        )
        for number, name in enumerate((OPERATOR, CONSUL_TEMPLATE))
    }


def _versions(cluster: Cluster, both: Sequence[Product]) -> Mapping[str, str]:
    names = {product.name: products.nginx_version(cluster, product) for product in both}
    [nginx] = set(names.values())  # the same, or there is nothing to compare
    programs = ("kube-apiserver", "consul", CONSUL_TEMPLATE, "vegeta")
    return {
        "consul-nginx-operator": version("consul-nginx-operator"),
        "nginx": nginx,
        **{name: binaries.BY_NAME[name].version for name in programs},
    }


def _stages(cluster: Cluster, *, subject: run.Subject) -> list[Stages]:
    kubectl = cluster.kubectl
    words = ("-n", release.NAMESPACE, "get", "pods", "--output=name")
    pods = kubectl(*words, f"--selector=app.kubernetes.io/name={release.NAME}").split()
    logs = [kubectl("logs", "-n", release.NAMESPACE, pod) for pod in pods]
    pod = subject.product.pod
    return stages(
        samples=subject.measured.samples,
        operator_log="\n".join(logs),
        agent_log=kubectl("logs", "-n", products.NAMESPACE, pod, "-c", "agent"),
        load_balancer=f"{products.NAMESPACE}/{OPERATOR}",
    )


def _print(found: Report) -> None:
    for heading_text, lines in (
        ("\nHow soon nginx follows", rows(found)),
        ("\nHow much was sent", count_rows(found)),
        ("\nWhere our time goes", stage_rows(found)),
    ):
        heading(heading_text)
        table(list(lines))
    for name, product in found["products"].items():
        for failure in product["failures"]:
            at = datetime.fromtimestamp(failure["at"], UTC)
            line(name, f"{at:%H:%M:%S.%f} UTC  {failure['reason']}")
    line("machine", f"{found['busy']:.0%} busy")
    line("time", f"{found['seconds']} s")


if __name__ == "__main__":
    main()
