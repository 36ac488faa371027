"""`make bench-mappings`: what it costs to plan and render many mappings, all of them or one change.

python -m bench.mappings [--mappings N] [--instances N]        needs nothing but this checkout
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from bench import machine
from cluster.harness.report import heading, line, table
from consul_nginx.loops.garbage import collect
from consul_nginx.loops.held import hold
from consul_nginx.model.bundle import Bundle, sha256
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.consul import Observation, Snapshot
from consul_nginx.model.encoding import encode
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.secret_files import SecretFile, SecretKind
from consul_nginx.model.template import OwnText
from consul_nginx.nginx.render import render
from consul_nginx.nginx.substitute import substitute
from consul_nginx.plan.load_balancer import bound
from consul_nginx.plan.own_templates import uses
from unit.factories import instance, load_balancer, mapping, planned

RUNS = 10
CHANGES = 100
HOSTS = 200
MAX_CERTIFICATES = 16
NOT_AFTER = 2_000_000_000.0


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a LoadBalancer's nginx is made from."""

    edge: LoadBalancer
    mappings: Sequence[ServiceMapping]
    snapshot: Snapshot
    certificates: Mapping[str, Certificate]
    own: tuple[OwnText, ...]


def fresh(*, mappings: int, instances: int, tls: bool) -> Input:
    """Objects that no plan has seen.

    ``tls``: half of the mappings are on a listener with as many certificates as it may have, and a
    template of the LoadBalancer's own writes a third one.
    """
    edge = _with_tls() if tls else load_balancer()
    found = [
        mapping(
            f"mapping-{number}",
            listener="https" if tls and number % 2 else "http",
            hostnames=[f"host-{number % HOSTS}.example.com"],
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
        certificates=_certificates(edge),
        own=tuple(
            OwnText(use=use, text="server { listen 8081; return 204; }\n" * 100)
            for use in uses(edge)
        ),
    )


def _with_tls() -> LoadBalancer:
    secrets = [{"name": f"tls-{number}"} for number in range(1, 2 * MAX_CERTIFICATES, 2)]
    template = {"configMapRef": {"name": "own", "key": "listener"}}
    return load_balancer(
        listeners=[
            {"name": "http", "port": 80},
            {
                "name": "https",
                "port": 443,
                "protocol": "HTTPS",
                "tls": {"certificateRefs": secrets},
            },
            {"name": "own", "port": 8081, "template": template},
        ]
    )


def _certificates(edge: LoadBalancer) -> dict[str, Certificate]:
    """Of each Secret that a listener names: for the host of its number."""
    return {
        secret: Certificate(
            file=SecretFile(secret=secret, kind=SecretKind.TLS, sha256=sha256(secret.encode())),
            hostnames=(f"host-{secret.partition('-')[2]}.example.com",),
            key_type="ECDSA",
            not_after=NOT_AFTER,
        )
        for listener in edge.listeners
        if listener.tls is not None
        for secret in listener.tls.secrets
    }


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
        certificates=given.certificates,
        own=given.own,
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
    heading(f"{mappings} mappings with {instances} instances each")
    plain = partial(fresh, mappings=mappings, instances=instances)
    everything, changes, writes = _measured(partial(plain, tls=False))
    everything_tls, changes_tls, writes_tls = _measured(partial(plain, tls=True))
    table(
        [
            ["CPU time in ms", "median", "worst", "of"],
            ["everything", *_figures(everything)],
            ["one backend changed", *_figures(changes)],
            ["and on its way to Kubernetes", *_figures(writes)],
            ["with TLS and a template: everything", *_figures(everything_tls)],
            ["one backend changed", *_figures(changes_tls)],
            ["and on its way to Kubernetes", *_figures(writes_tls)],
        ]
    )
    line("everything / one change", f"{_ratio(everything, changes)}")
    line("with TLS and a template", f"{_ratio(everything_tls, changes_tls)}")
    line("machine", f"{machine.describe()['cpu']}, {machine.describe()['cpus']} cores")


def _measured(make: Callable[[], Input]) -> tuple[list[float], list[float], list[float]]:
    """Seconds of everything, of one changed backend each, and of what is done with the bundle.

    Between changes garbage is collected as the operator does: at first, once it is quiet.
    """
    everything = [
        seconds(lambda given=given: bundle_of(given)) for given in (make() for _ in range(RUNS))
    ]
    given = make()
    before = bundle_of(given)
    collect()
    changes, writes = [], []
    for run in range(CHANGES):
        number = run % len(given.mappings)
        query = given.mappings[number].queries[0]
        instances = len(given.snapshot[query].instances or ())
        changed = _observed(number, instances=instances, port=9000 + run)
        given = replace(given, snapshot={**given.snapshot, query: changed})
        changes.append(seconds(lambda given=given: bundle_of(given)))
        after = bundle_of(given)
        assert len(set(after.files.items()) - set(before.files.items())) == 2  # its file, the hash
        writes.append(seconds(lambda given=given, after=after: _to_kubernetes(given, after)))
        before = after
    return everything, changes, writes


def _to_kubernetes(given: Input, bundle: Bundle) -> None:
    """What else is done before the ConfigMap is written."""
    hold(observations=given.snapshot, kept=(), before={}, now=0.0)
    encode(bundle=substitute(bundle=bundle, refused={}, proven={}).bundle, revision=1)


def _ratio(everything: Sequence[float], changes: Sequence[float]) -> str:
    return f"{statistics.median(everything) / statistics.median(changes):.1f}"


def _figures(found: Sequence[float]) -> tuple[str, str, str]:
    median, worst = statistics.median(found) * 1000, max(found) * 1000
    return f"{median:.0f}", f"{worst:.0f}", str(len(found))


if __name__ == "__main__":
    main()
