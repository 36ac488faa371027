"""What all tests of registrations share: an operator of its own for them, and pods by kwok."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.support.kwok import Kwok, kwok
from cluster.support.registrars import nobody_else, registrar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

NODES = 11


@pytest.fixture(scope="package")
def played(cluster: Cluster) -> Iterator[Kwok]:
    """Ten nodes for pods, and one to lose."""
    with kwok(cluster=cluster, count=NODES) as found:
        yield found


@pytest.fixture(scope="package")
def red(cluster: Cluster) -> Iterator[Release]:
    """An operator in catalog mode that registers the pods of the namespaces red and fleet."""
    with (
        nobody_else(cluster),
        registrar(
            cluster=cluster,
            name="red",
            namespaces=("red", "fleet"),
            **{
                "registration.mode": "catalog",
                "registration.rules[0].namespaces": "{red,fleet}",
                "registration.rules[0].services": "{fleet*,shared*,red*}",
            },
        ) as found,
    ):
        yield found


@pytest.fixture(scope="package")
def consul(cluster: Cluster) -> str:
    """The URL of Consul's servers."""
    return cluster.consul_address
