"""How each question of a template is put to Consul, and how its answer is read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from consul.base import Response

from consul_nginx.consul.api import not_consuls
from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.fields import MalformedError, field_of
from consul_nginx.consul.health import aggregate
from consul_nginx.consul.transport import path_segment
from consul_nginx.model.consul import Health
from consul_nginx.model.facts import (
    DatacentersQuery,
    Entry,
    InstancesQuery,
    KeyQuery,
    NamedService,
    Node,
    NodesQuery,
    Pair,
    Question,
    ServicesQuery,
    TreeQuery,
    Value,
)

Params = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where a question goes, below ``/v1/``, and what makes its value of JSON.

    ``read`` raises ``ValueError`` or ``LookupError`` for what Consul does not answer.
    """

    place: str
    params: Params
    read: Callable[[Any], Value]
    right: str


def asked(question: Question) -> Asked:
    """The request; raises ``ConsulRefused`` for a name that would make it another one."""
    match question:
        case InstancesQuery(service=service, tags=tags):
            return Asked(
                place=f"health/service/{path_segment(service)}",
                # As ``ConsulClient.service``: not out of a stream, which may be 100 ms behind.
                params=[("near", "_agent"), *(("tag", tag) for tag in tags)],
                read=parse_entries,
                right="service:read and node:read",
            )
        case KeyQuery(key=key):
            return Asked(place=f"kv/{_kv_path(key)}", params=[], read=_pairs, right="key:read")
        case TreeQuery(prefix=prefix):
            return Asked(
                place=f"kv/{_kv_path(prefix)}",
                params=[("recurse", "")],
                read=_pairs,
                right="key:read",
            )
        case ServicesQuery():
            return Asked(place="catalog/services", params=[], read=_services, right="service:read")
        case NodesQuery():
            return Asked(place="catalog/nodes", params=[], read=_nodes, right="node:read")
        case DatacentersQuery():
            return Asked(place="catalog/datacenters", params=[], read=_names, right="")


def value_of(response: Response, *, asked: Asked) -> Value:
    """The answer's value. Of a key or a folder that is not there Consul answers 404.

    Raises ``ConsulRefused`` when the token may see nothing of it, ``ConsulUnavailable`` for what
    is not an answer of Consul's.
    """
    absent = response.code == HTTPStatus.NOT_FOUND
    if absent and not (asked.place.startswith("kv/") and "X-Consul-Index" in response.headers):
        raise not_consuls(response)
    try:
        value = () if absent else asked.read(json.loads(response.body))
    except (ValueError, LookupError, RecursionError) as error:
        raise not_consuls(response) from error
    if not value and response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
        raise ConsulRefused(f"the ACL token may not read it: it needs {asked.right}")
    return value


def _kv_path(key: str) -> str:
    """A key as a path that Consul does not clean into another one."""
    parts = key.removesuffix("/").split("/") if key else []
    if not key.isprintable() or {"", ".", ".."} & set(parts):
        raise ConsulRefused(f"unsafe key {key[:60]!r}")
    return quote(key, safe="/")


def parse_entries(raw: Any) -> tuple[Entry, ...]:
    """Instances, sorted; one that can't be read costs no other."""
    return tuple(sorted(filter(None, map(_entry, _list(raw)))))


def _entry(raw: Any) -> Entry | None:
    try:
        service = field_of(raw, "Service", dict)
        node = _node(field_of(raw, "Node", dict))
        health = aggregate(field_of(raw, "Checks", list))
        weights = field_of(service, "Weights", dict, {})
        return Entry(
            node=node,
            id=field_of(service, "ID", str),
            name=field_of(service, "Service", str, ""),
            address=field_of(service, "Address", str, "") or node.address,
            port=field_of(service, "Port", int, 0),
            tags=_texts(service.get("Tags")),
            meta=_meta(service.get("Meta")),
            health=health,
            weight=field_of(weights, "Warning" if health is Health.WARNING else "Passing", int, 1),
        )
    except MalformedError:
        return None


def _pairs(raw: Any) -> tuple[Pair, ...]:
    return tuple(
        sorted(Pair(key=field_of(item, "Key", str), value=_decoded(item)) for item in _list(raw))
    )


def _decoded(raw: Any) -> str:
    """The value as text; what is no UTF-8 can't be printed by a template."""
    try:
        content = base64.b64decode(field_of(raw, "Value", str, ""), validate=True)
    except binascii.Error as error:
        raise MalformedError("Value is no base64") from error
    return content.decode("utf-8", errors="replace")


def _services(raw: Any) -> tuple[NamedService, ...]:
    if type(raw) is not dict:
        raise MalformedError("not services by name")
    return tuple(
        NamedService(name=name, tags=tuple(sorted(_texts(tags))))
        for name, tags in sorted(raw.items())
    )


def _nodes(raw: Any) -> tuple[Node, ...]:
    return tuple(sorted(map(_node, _list(raw))))


def _node(raw: Any) -> Node:
    return Node(
        name=field_of(raw, "Node", str),
        address=field_of(raw, "Address", str, ""),
        meta=_meta(raw.get("Meta")),
    )


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(sorted(_texts(_list(raw))))


def _texts(raw: Any) -> tuple[str, ...]:
    return tuple(item for item in raw if isinstance(item, str)) if isinstance(raw, list) else ()


def _meta(raw: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict):
        return ()
    return tuple(sorted((key, value) for key, value in raw.items() if isinstance(value, str)))


def _list(raw: Any) -> list[Any]:
    if type(raw) is not list:
        raise MalformedError("not a list")
    return raw
