"""What the API server says to manifests: the golden ones are taken, bad ones refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster.harness.report import HarnessError
from unit.features import NAMES, manifests
from unit.refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

API_VERSION = "consul-nginx.dev/v1alpha1"


def dry_run(cluster: Cluster, objects: list[dict[str, Any]]) -> str:
    """What kubectl says; the objects are in a namespace that is always there."""
    moved = [{**item, "metadata": {**item["metadata"], "namespace": "default"}} for item in objects]
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    return cluster.kubectl(*words, stdin=yaml.safe_dump_all(moved))


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_manifest_is_accepted(cluster: Cluster, release: Release, name: str):
    objects = [item for item in manifests(name) if item["kind"] != "Namespace"]
    assert dry_run(cluster, objects).count("serverside-applied") == len(objects)


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_bad_manifest_is_refused_with_its_field_and_a_reason(
    cluster: Cluster, release: Release, refusal: Refusal
):
    raw = {
        "apiVersion": API_VERSION,
        "kind": refusal.kind,
        "metadata": {"name": "bad"},
        "spec": refusal.complete,
    }
    with pytest.raises(HarnessError) as refused:
        dry_run(cluster, [raw])
    assert refusal.field in str(refused.value)
    assert refusal.words in str(refused.value)
