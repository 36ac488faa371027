"""The running cluster, the operator on it, and the example application."""

from __future__ import annotations

import pytest

from cluster.harness.cluster import Cluster
from cluster.support.release import Release
from cluster.support.shop import Shop

CHECK_EVERY_S = 1


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
def installed_shop(cluster: Cluster, release: Release) -> Shop:
    """The example applications behind nginx, with checks that tests can wait for."""
    shop = Shop(cluster, check_every_s=CHECK_EVERY_S)
    shop.apply()
    return shop


@pytest.fixture
def shop(installed_shop: Shop) -> Shop:
    """The example applications with all backends served: every test starts from there."""
    installed_shop.bring_back()
    installed_shop.wait_all_backends()
    return installed_shop
