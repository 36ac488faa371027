"""Every sentence of what SERVICE_* annotations mean, out of ``contract.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from consul_nginx.model.registration import MARKS, Address, IPFamily, Registration
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.registrar.wanted import wanted
from unit.registrar.pods import pod_raw, settings

CONTRACT = yaml.safe_load((Path(__file__).parent / "contract.yaml").read_text())
OF_THE_POD = (
    "annotations", "ports", "image", "ips", "node_ips", "ready", "leaving", "controlled",
    "host_network", "more_containers", "init_ports",
)  # fmt: skip
OF_THE_CONTENT = ("id", "name", "address", "port", "weight", "enable_tag_override")


def cases():
    for chapter, entries in CONTRACT.items():
        for entry in entries:
            yield pytest.param(entry, id=f"{chapter}: {entry['says']}")


@pytest.mark.parametrize("case", list(cases()))
def test_contract(case: dict[str, Any]):
    chosen = dict(case.get("settings", {}))
    for field, kind in (("address", Address), ("ip_family", IPFamily)):
        if field in chosen:
            chosen[field] = kind(chosen[field])
    pod = {field: case[field] for field in OF_THE_POD if field in case}
    found = wanted(
        pod=parse_pod(pod_raw(name=case.get("pod", "web-1"), **pod)),
        settings=settings(mode=case.get("mode", "catalog"), **chosen),
        included=case.get("included", False),
    )
    told = [f"{warning.reason}: {warning.message}" for warning in found.warnings]
    assert [
        shown(item, expected)
        for item, expected in zip(found.registrations, case["gives"], strict=True)
    ] == case["gives"], told
    for text in case.get("warns", ()):
        reason, _, words = text.partition(": ")
        assert any(t.startswith(f"{reason}: ") and words in t for t in told), (text, told)
    assert len(told) == len(case.get("warns", ())), told


def shown(item: Registration, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a registration that an entry is about."""
    content, check = item.content, item.check
    found = {
        **{field: getattr(content, field) for field in OF_THE_CONTENT},
        "tags": list(content.tags),
        "meta": {key: value for key, value in content.meta.items() if key not in MARKS},
        "all_meta": dict(content.meta),
        "check": check and dict(check.definition),
        "status": check and check.initial_status,
        "written": bool(content.checks),
        "ready": item.ready,
    }
    return {field: found[field] for field in fields}
