"""From ``/v1/health/service`` entries to instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consul_nginx.model.consul import Health, Instance

_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"
_WORST_FIRST = (Health.CRITICAL, Health.WARNING)


def parse_instances(entries: Iterable[Mapping[str, Any]]) -> tuple[Instance, ...]:
    """Instances of an answer, sorted; an instance without an address has its node's."""
    return tuple(sorted(_instance(entry) for entry in entries))


def _instance(entry: Mapping[str, Any]) -> Instance:
    node, service = entry["Node"], entry["Service"]
    health = aggregate(entry.get("Checks") or ())
    weights = service.get("Weights") or {}
    weight = weights.get("Warning" if health is Health.WARNING else "Passing", 1)
    return Instance(
        id=service["ID"],
        node=node["Node"],
        address=service.get("Address") or node.get("Address") or "",
        port=service.get("Port") or 0,
        health=health,
        weight=weight if isinstance(weight, int) else 1,
    )


def aggregate(checks: Iterable[Mapping[str, Any]]) -> Health:
    """Worst state of the checks; no check at all is passing, an unknown state is critical."""
    states = set()
    for check in checks:
        check_id = str(check.get("CheckID", ""))
        if check_id == _NODE_MAINTENANCE or check_id.startswith(_SERVICE_MAINTENANCE):
            return Health.MAINTENANCE
        status = check.get("Status")
        states.add(Health(status) if status in _KNOWN else Health.CRITICAL)
    return next((state for state in _WORST_FIRST if state in states), Health.PASSING)


_KNOWN = {Health.PASSING.value, Health.WARNING.value, Health.CRITICAL.value}
