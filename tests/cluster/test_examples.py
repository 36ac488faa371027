"""Every file of examples/, as the real API server and the real Helm take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from cluster.support.shop import EXAMPLES
from consul_nginx.resources.policy import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

VALUES = EXAMPLES / "policy-values.yaml"
MANIFESTS = sorted(path for path in EXAMPLES.glob("*.yaml") if path != VALUES)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_api_server_takes_it(cluster: Cluster, release: Release, path: Path):
    """All in one namespace that is there: nothing is made by a dry run, no namespace either."""
    objects = list(yaml.safe_load_all(path.read_text()))
    for item in objects:
        if item["kind"] != "Namespace":
            item["metadata"]["namespace"] = "default"
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-")
    said = cluster.kubectl(*words, "--output=name", stdin=yaml.safe_dump_all(objects))
    assert [name.split("/")[1] for name in said.split()] == [
        item["metadata"]["name"] for item in objects
    ]


def test_the_chart_takes_the_values_and_hands_the_policy_on(release: Release):
    objects = release.render(f"--values={VALUES}")
    [config_map] = [item for item in objects if item["kind"] == "ConfigMap"]
    policy = parse_policy(config_map["data"]["policy.yaml"])
    assert policy.rules is not None
    assert [rule.namespaces for rule in policy.rules] == [("blog",), ("infra", "shop")]
    assert [rule.kv_prefixes for rule in policy.template_rules("shop")] == [("shop/",)]
    readers = [
        item["metadata"]["namespace"]
        for item in objects
        if item["kind"] == "Role" and any("secrets" in rule["resources"] for rule in item["rules"])
    ]
    assert readers == ["blog"]
