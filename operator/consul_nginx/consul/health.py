"""From ``/v1/health/service`` entries to instances."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from consul_nginx.consul.fields import MalformedError, field_of
from consul_nginx.model.consul import NO_POD, Health, Instance, PodMark
from consul_nginx.model.registration import META_CLUSTER, META_NAMESPACE, META_POD_UID

_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"
_WORST_FIRST = (Health.CRITICAL, Health.WARNING)
_KNOWN = {Health.PASSING.value, Health.WARNING.value, Health.CRITICAL.value}


def parse_instances(entries: Any, *, as_answered: bool = False) -> tuple[Instance, ...]:
    """Instances of an answer, sorted; an instance without an address has its node's.

    ``as_answered``: in the order of the answer, which means something. An entry that can't be read
    is ``Health.MALFORMED``, and costs no other. Raises ``MalformedError`` when that is all of them,
    or ``entries`` no list: that is not Consul's.
    """
    if type(entries) is not list:
        raise MalformedError("not a list of instances")
    found = map(_instance, entries)
    instances = tuple(found if as_answered else sorted(found))
    if instances and all(instance.health is Health.MALFORMED for instance in instances):
        raise MalformedError("no entry is an instance")
    return instances


def aggregate(checks: Iterable[Any]) -> Health:
    """Worst state of the checks; no check at all is passing, an unknown state is critical.

    Raises ``MalformedError`` for a check without a status.
    """
    states = set()
    for check in checks:
        check_id = field_of(check, "CheckID", str, "")
        if check_id == _NODE_MAINTENANCE or check_id.startswith(_SERVICE_MAINTENANCE):
            return Health.MAINTENANCE
        status = field_of(check, "Status", str)
        states.add(Health(status) if status in _KNOWN else Health.CRITICAL)
    return next((state for state in _WORST_FIRST if state in states), Health.PASSING)


def _instance(entry: Any) -> Instance:
    try:
        return _read(entry)
    except MalformedError:
        return Instance(
            id=_text(entry, "Service", "ID"),
            node=_text(entry, "Node", "Node"),
            address="",
            port=0,
            health=Health.MALFORMED,
        )


def _read(entry: Any) -> Instance:
    node, service = field_of(entry, "Node", dict), field_of(entry, "Service", dict)
    health = aggregate(field_of(entry, "Checks", list))
    weights = field_of(service, "Weights", dict, {})
    return Instance(
        id=field_of(service, "ID", str),
        node=field_of(node, "Node", str),
        address=field_of(service, "Address", str, "") or field_of(node, "Address", str, ""),
        # Consul leaves it out when a service was registered without a port.
        port=field_of(service, "Port", int, 0),
        health=health,
        weight=field_of(weights, "Warning" if health is Health.WARNING else "Passing", int, 1),
        pod=_pod(service.get("Meta")),
    )


def _pod(meta: Any) -> PodMark:
    """The Pod that Meta names; part of a mark is none, and costs no instance."""
    if type(meta) is not dict:
        return NO_POD
    marks = [meta.get(key) for key in (META_CLUSTER, META_NAMESPACE, META_POD_UID)]
    if not all(isinstance(mark, str) and mark for mark in marks):
        return NO_POD
    cluster, namespace, uid = map(str, marks)
    return PodMark(cluster=sys.intern(cluster), namespace=sys.intern(namespace), uid=uid)


def _text(entry: Any, part: str, name: str) -> str:
    """What can be told of a malformed entry, so that people find it."""
    try:
        return field_of(field_of(entry, part, dict), name, str)
    except MalformedError:
        return ""
