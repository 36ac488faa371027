"""The part of a Pod that registrations are made from, out of what the API server returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Container, ContainerPort, Pod
from consul_nginx.registrar.keys import is_key
from consul_nginx.registrar.warnings import listed, shown, shown_key

_T = TypeVar("_T")


class MalformedPodError(ValueError):
    """It isn't a Pod as the API server returns it; the message names the field."""


def parse_pod(raw: Mapping[str, Any]) -> Pod:
    """Read a Pod; one that was written by hand has neither a status nor a UID.

    Raises ``MalformedPodError``.
    """
    metadata = _field(raw, "metadata", dict, {})
    spec = _field(raw, "spec", dict, {})
    status = _field(raw, "status", dict, {})
    return Pod(
        ref=ObjectRef(
            namespace=_field(metadata, "namespace", str, ""), name=_field(metadata, "name", str, "")
        ),
        uid=_field(metadata, "uid", str, ""),
        created=_field(metadata, "creationTimestamp", str, ""),
        annotations=_annotations(metadata),
        controlled=any(owner.get("controller") for owner in _items(metadata, "ownerReferences")),
        containers=tuple(_container(item) for item in _items(spec, "containers")),
        host_network=_field(spec, "hostNetwork", bool, False),
        node=_field(spec, "nodeName", str, ""),
        node_ips=_ips(status, all_of="hostIPs", first="hostIP"),
        ips=_ips(status, all_of="podIPs", first="podIP"),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in _items(status, "conditions")
        ),
        leaving=bool(metadata.get("deletionTimestamp"))
        or status.get("phase") in ("Succeeded", "Failed"),
    )


def _annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    found = {
        key: value
        for key, value in _field(metadata, "annotations", dict, {}).items()
        if isinstance(key, str) and is_key(key)
    }
    wrong = [
        f"{shown_key(key)}: {_written(value)}"
        for key, value in found.items()
        if not isinstance(value, str)
    ]
    if wrong:
        way_out = "not a text; write it in quotes"
        if len(wrong) > 1:
            way_out = "not texts; write each value in quotes"
        raise MalformedPodError(f"metadata.annotations: {listed(wrong)}: {way_out}")
    return found


def _written(value: Any) -> str:
    """As it stands in YAML, if that is short."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _said(value) if isinstance(value, int | float) else shown(_said(value))


def _said(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _container(raw: Mapping[str, Any]) -> Container:
    return Container(
        image=_field(raw, "image", str, ""),
        ports=tuple(_port(item) for item in _items(raw, "ports")),
    )


def _port(raw: Mapping[str, Any]) -> ContainerPort:
    port, host_port = _field(raw, "containerPort", int, 0), _field(raw, "hostPort", int, 0)
    if not 1 <= port <= 65535 or not 0 <= host_port <= 65535:
        raise MalformedPodError(f"ports: {shown(_said(dict(raw)))}: a port is from 1 to 65535")
    return ContainerPort(
        port=port, protocol=_field(raw, "protocol", str, "TCP"), host_port=host_port
    )


def _ips(status: Mapping[str, Any], *, all_of: str, first: str) -> tuple[str, ...]:
    found = tuple(_field(item, "ip", str, "") for item in _items(status, all_of))
    return tuple(filter(None, found or (_field(status, first, str, ""),)))


def _items(raw: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    items = _field(raw, name, list, [])
    for item in items:
        if not isinstance(item, dict):
            raise MalformedPodError(f"{name}: {shown(_said(item))}: not an object")
    return items


def _field(raw: Mapping[str, Any], name: str, kind: type[_T], default: _T) -> _T:
    value = raw.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise MalformedPodError(f"{name}: {shown(_said(value))}: not of the type {kind.__name__}")
    return value
