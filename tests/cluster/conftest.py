"""The running cluster, the operator on it, and the example application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.harness.cluster import Cluster
from cluster.support.release import Release
from cluster.support.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of `make cluster`."""
    return Cluster.load()


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Release:
    """The operator, installed from the chart; an earlier application is removed first."""
    Shop(cluster).remove()
    release = Release(cluster=cluster)
    release.install()
    return release


@pytest.fixture(scope="session")
def installed_shop(cluster: Cluster, release: Release) -> Iterator[Shop]:
    """The example application behind nginx."""
    shop = Shop(cluster)
    shop.apply()
    yield shop
    shop.clear()


@pytest.fixture
def shop(installed_shop: Shop) -> Shop:
    """The example applications with all backends served: every test starts from there."""
    installed_shop.sync()
    installed_shop.wait_all_backends()
    return installed_shop
