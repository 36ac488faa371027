"""The chart, through the real Helm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster.harness.report import HarnessError
from cluster.support.release import CHART

if TYPE_CHECKING:
    from cluster.support.release import Release


def render(release: Release, *words: str) -> list[dict[str, Any]]:
    text = release.helm("template", "x", str(CHART), "--kube-version=1.30", *words)
    return [item for item in yaml.safe_load_all(text) if item]


def rules(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [rule for item in objects if item["kind"] == kind for rule in item["rules"]]


def test_lint_is_clean(release: Release):
    assert "0 chart(s) failed" in release.helm("lint", "--strict", str(CHART))


def test_no_rule_has_a_wildcard_or_reads_secrets(release: Release):
    for rule in rules(render(release), "ClusterRole"):
        words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "*" not in words
        assert "secrets" not in words
        assert "delete" not in words


def test_with_namespaces_nothing_is_granted_elsewhere(release: Release):
    objects = render(release, "--set=namespaces={a,b}")
    assert not [item for item in objects if item["kind"].startswith("Cluster")]
    roles = [item for item in objects if item["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("consul.address=consul:8500", "/consul/address"),
        ("logLevel=loud", "/logLevel"),
        ("consul.adress=x", "adress"),
        ("image.tag=", "/image/tag"),
    ],
)
def test_a_bad_value_is_refused_by_name(release: Release, setting: str, words: str):
    with pytest.raises(HarnessError, match="don't meet the specifications") as refusal:
        render(release, f"--set={setting}")
    assert words in str(refusal.value)


def test_notes_say_what_to_do_next(release: Release):
    notes = release.helm("get", "notes", "consul-nginx-operator")
    assert "kubectl get consul-nginx" in notes
