"""What the API server says to manifests: the golden ones are taken, bad ones refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from unit.features import NAMES, manifests
from unit.refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

KINDS = {"LoadBalancer": "nlb", "ServiceMapping": "smap"}
API_VERSION = "consul-nginx.dev/v1alpha1"


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_manifest_is_accepted(cluster: Cluster, release: Release, name: str):
    """In a namespace that is always there."""
    objects = [
        {**item, "metadata": {**item["metadata"], "namespace": "default"}}
        for item in manifests(name)
        if item["kind"] != "Namespace"
    ]
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    said = cluster.kubectl(*words, stdin=yaml.safe_dump_all(objects))
    assert said.count("serverside-applied") == len(objects)


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_bad_manifest_is_refused_with_its_field_and_a_reason(
    cluster: Cluster, release: Release, refusal: Refusal
):
    raw = {
        "apiVersion": API_VERSION,
        "kind": refusal.kind,
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": refusal.complete,
    }
    said = cluster.read.refusal(KINDS[refusal.kind], raw)
    assert refusal.field in said
    assert refusal.words in said
