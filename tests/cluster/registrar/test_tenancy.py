"""Two operators for two cluster names on one Consul, with the same service names and IDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cluster.support.kwok import Kwok
from cluster.support.registered import (
    PASSING,
    Entry,
    Owner,
    deregister,
    entries,
    living,
    owners,
    wait_entries,
)
from cluster.support.registrars import registrar, scale
from consul_nginx.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

SERVICE = "shared"
PODS = ("shared-0", "shared-1", "shared-2")
# Bare Pods have exactly the ID that they ask for. Those of both are on the same nodes.
ANNOTATIONS = {"SERVICE_NAME": SERVICE, "SERVICE_ID": "$(POD_NAME)"}


@pytest.fixture(scope="module")
def blue(cluster: Cluster, red: Release) -> Iterator[Release]:
    """The other operator; it takes its registrations with it when it is uninstalled."""
    with registrar(
        cluster=cluster,
        name="blue",
        namespaces=("blue",),
        **{"registration.mode": "catalog"},
    ) as found:
        yield found


@pytest.fixture(scope="module")
def wanted(
    cluster: Cluster, played: Kwok, red: Release, blue: Release, consul: str
) -> Iterator[dict[str, list[Owner]]]:
    """Both have pods of the same names; whose they are, by cluster name."""
    for namespace in ("red", "blue"):
        played.create_pods(namespace, PODS, ANNOTATIONS)
    wait_entries(
        consul,
        SERVICE,
        lambda found: len(owners(found, status=PASSING)) == 2 * len(PODS),
        what="those of both are passing",
    )
    yield {
        name: living(cluster, of=name, namespace=name, selector="app=shared")
        for name in ("red", "blue")
    }
    played.delete_pods("red", PODS)


def of(cluster: str, found: list[Entry]) -> list[Owner]:
    return owners(found, cluster=cluster, status=PASSING)


def test_both_are_there_with_the_same_ids_on_the_same_nodes(
    consul: str, wanted: dict[str, list[Owner]]
):
    found = entries(consul, SERVICE)
    assert {name: of(name, found) for name in wanted} == wanted
    for name in wanted:
        assert sorted(item.id for item in found if item.owner.cluster == name) == [*PODS]


def test_what_is_removed_by_hand_comes_back_from_its_owner_only(
    cluster: Cluster, blue: Release, consul: str, wanted: dict[str, list[Owner]]
):
    scale(cluster, blue, 0)
    for entry in entries(consul, SERVICE):
        deregister(consul, entry)
    found = wait_entries(
        consul, SERVICE, lambda found: of("red", found) == wanted["red"], what="red repairs its own"
    )
    assert not of("blue", found)
    scale(cluster, blue, 1)
    found = wait_entries(
        consul, SERVICE, lambda found: of("blue", found) == wanted["blue"], what="blue, too"
    )
    assert of("red", found) == wanted["red"]


def test_cleanup_lists_and_removes_what_is_of_the_cluster_that_it_is_told(
    cluster: Cluster, blue: Release, consul: str, wanted: dict[str, list[Owner]]
):
    scale(cluster, blue, 0)
    done = CliRunner().invoke(main, ["cleanup", "--cluster=blue", f"--consul-address={consul}"])
    print(done.output)
    assert done.exit_code == 0
    for pod in PODS:
        assert pod in done.output
    found = entries(consul, SERVICE)
    assert not of("blue", found)
    assert of("red", found) == wanted["red"]
    scale(cluster, blue, 1)
    wait_entries(
        consul, SERVICE, lambda found: of("blue", found) == wanted["blue"], what="they come back"
    )


def test_an_uninstall_that_is_to_remove_takes_its_own_and_no_other(
    blue: Release, consul: str, wanted: dict[str, list[Owner]]
):
    blue.uninstall()
    found = entries(consul, SERVICE)
    assert not of("blue", found)
    assert of("red", found) == wanted["red"]
