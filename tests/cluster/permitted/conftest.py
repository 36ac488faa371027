"""The operator with permissions for all tests of this folder: it is installed anew only once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cluster.support.consul_stand_in import StandIn, stand_in
from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import APP
from cluster.support.tenant import Tenant, tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

OPERATOR_TOKEN = "operators-own-token"


@dataclass(frozen=True, kw_only=True)
class Permitted:
    """Namespaces whose Secrets the operator may read, and the Consuls that may be named.

    Of the Consuls three are stand-ins; ``agent`` is one of the real one's.
    """

    apple: Tenant
    plum: Tenant
    vault: Tenant
    with_token: StandIn
    without_token: StandIn
    late: StandIn
    agent: str

    def addresses(self) -> tuple[str, ...]:
        """Of all Consuls."""
        stand_ins = (self.with_token, self.without_token, self.late)
        return (*(consul.address for consul in stand_ins), self.agent)


@pytest.fixture(scope="package")
def permitted(cluster: Cluster, release: Release, installed_shop: Shop) -> Iterator[Permitted]:
    """The operator has a policy, a token and rights to read Secrets while the tests run."""
    operators = Tenant(cluster=cluster, namespace=OPERATOR_NAMESPACE)
    with (
        tenant(cluster=cluster, namespace="apple") as apple,
        tenant(cluster=cluster, namespace="plum") as plum,
        tenant(cluster=cluster, namespace="vault") as vault,
        stand_in(cluster.host_ip) as with_token,
        stand_in(cluster.host_ip) as without_token,
        stand_in(cluster.host_ip) as late,
    ):
        found = Permitted(
            apple=apple,
            plum=plum,
            vault=vault,
            with_token=with_token,
            without_token=without_token,
            late=late,
            agent=installed_shop.consul_agents()[0],
        )
        operators.secret("test-token", token=OPERATOR_TOKEN)
        try:
            release.install(
                **{
                    "consul.tokenSecret.name": "test-token",
                    "secrets.namespaces": "{apple,plum,vault}",
                    "policy.consulAddresses": f"{{{','.join(found.addresses())}}}",
                    "policy.mappings[0].namespaces": "{shop,vault,cellar,own,other,plum}",
                    "policy.mappings[0].hostnames": "{*}",
                    "policy.mappings[0].services": "{*}",
                    "policy.mappings[1].namespaces": "{apple}",
                    "policy.mappings[1].hostnames": "{*.apple.example}",
                    "policy.mappings[1].services": f"{{{APP}}}",
                    "policy.mappings[2].namespaces": "{berry}",
                    "policy.mappings[2].hostnames": "{*.berry.example}",
                    "policy.mappings[2].services": "{my-*,test-*}",
                    "policy.templates[0].namespaces": "{own}",
                    "policy.templates[0].kvPrefixes[0]": "own/",
                }
            )
            yield found
        finally:
            release.install()
            operators.kubectl("delete", "secret", "test-token")
