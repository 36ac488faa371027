"""Files with what Consul said, and the answers that they give in Consul's place.

::

    {"datacenters": {"dc1": {"services": {"NAME": [...]}, "kv": {"path": "text"}}}}

Below ``NAME`` are entries exactly as ``/v1/health/service/NAME`` returns them, of all tags. A
service that isn't there has no instance. Where distance counts, the nearest comes first, whatever
the node: Consul does not tell distances.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consul_nginx.commands.filters import parse_filter
from consul_nginx.consul.fields import MalformedError, field_of
from consul_nginx.consul.health import parse_instances
from consul_nginx.consul.questions import parse_entries
from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.facts import (
    DatacentersQuery,
    InstancesQuery,
    KeyQuery,
    NamedService,
    NodesQuery,
    Pair,
    Question,
    ServicesQuery,
    TreeQuery,
    Value,
)
from consul_nginx.model.filter_grammar import Filter, FilterError

Entries = list[Any]

_SHOWN = 60


class SnapshotError(ValueError):
    """It is not a snapshot, or not one that has an answer; the message names the place in it."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Entries by datacenter and service, whose names are in lower case: Consul folds them too.

    ``kv`` has keys by datacenter. ``own`` is the datacenter of queries that name none; empty:
    nobody knows.
    """

    datacenters: Mapping[str, Mapping[str, Entries]]
    kv: Mapping[str, Mapping[str, str]]
    own: str

    def observe(self, query: ServiceQuery) -> Observation:
        """What Consul answers to ``query``.

        There is one Consul in it, whatever address a LoadBalancer names. Raises ``SnapshotError``.
        """
        datacenter = self._datacenter(query)
        if query.namespace or query.partition:
            raise SnapshotError(
                f"{query}: a snapshot does not say of which namespace and partition of Consul "
                "Enterprise it is; leave them out, and record it with a token of that namespace"
            )
        expression = _filter(query) if query.filter else None
        services = self.datacenters.get(datacenter, {})
        entries = services.get(query.service.lower(), [])
        try:
            instances = parse_instances(
                [
                    one
                    for one in entries
                    if _has(one, query.tags)
                    and (expression is None or _lets_through(expression, one))
                ],
                as_answered=bool(query.near),
            )
        except MalformedError as error:
            place = f"datacenters.{_shown(datacenter)}.services.{query.service}"
            raise SnapshotError(f"{place}: {error}") from error
        return Observation(instances=instances, nearest_first=bool(query.near))

    async def answer(self, question: Question) -> Value:
        """What Consul answers to a template; nodes are those of the instances in it.

        Raises ``SnapshotError``.
        """
        if isinstance(question, DatacentersQuery):
            return tuple(sorted(self.datacenters))
        datacenter = self._datacenter(question)
        services = self.datacenters.get(datacenter, {})
        pairs = self.kv.get(datacenter, {})
        match question:
            case InstancesQuery(service=service, tags=tags):
                found = services.get(service.lower(), [])
                return parse_entries([one for one in found if _has(one, tags)])
            case ServicesQuery():
                return tuple(
                    NamedService(
                        name=name,
                        tags=tuple(
                            sorted({tag for one in parse_entries(found) for tag in one.tags})
                        ),
                    )
                    for name, found in sorted(services.items())
                    if found
                )
            case NodesQuery():
                every = [one.node for found in services.values() for one in parse_entries(found)]
                return tuple(sorted({node.name: node for node in every}.values()))
            case KeyQuery(key=key):
                return (Pair(key=key, value=pairs[key]),) if key in pairs else ()
            case TreeQuery(prefix=prefix):
                return tuple(
                    Pair(key=key, value=value)
                    for key, value in sorted(pairs.items())
                    if key.startswith(prefix)
                )

    def _datacenter(self, query: ServiceQuery | Question) -> str:
        datacenter = query.datacenter or self.own
        if not datacenter and self.datacenters:
            raise SnapshotError(
                f"datacenters: {_listed(self.datacenters)}: it has several, and {query} is asked "
                "without one; say by --datacenter which is the agent's own"
            )
        return datacenter


def read_snapshot(file: Path, *, own: str = "") -> Recorded:
    """See ``parse_snapshot``; the message of a ``SnapshotError`` names the file."""
    try:
        return parse_snapshot(file.read_text(encoding="utf-8"), own=own)
    except (SnapshotError, OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SnapshotError(f"{file}: {reason}") from error


def parse_snapshot(text: str, *, own: str = "") -> Recorded:
    """Read a snapshot; ``own`` is the agent's datacenter, by default the only one there is.

    Raises ``SnapshotError``. Entries may be anything: those that can't be read are told of when
    they are asked for.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"not JSON: {error}") from error
    content = _object(raw, "")
    _only(content, "", known=("datacenters",))
    if "datacenters" not in content:
        raise SnapshotError("datacenters is missing")
    datacenters = _object(content["datacenters"], "datacenters")
    found = {
        name: _services(datacenter, f"datacenters.{_shown(name)}")
        for name, datacenter in datacenters.items()
    }
    kv = {name: dict(datacenter.get("kv", {})) for name, datacenter in datacenters.items()}
    if own and found and own not in found:
        raise SnapshotError(f"datacenters: {_listed(found)}: --datacenter {own} is not in it")
    return Recorded(
        datacenters=found, kv=kv, own=own or (next(iter(found)) if len(found) == 1 else "")
    )


def _services(raw: Any, place: str) -> dict[str, Entries]:
    content = _object(raw, place)
    _only(content, place, known=("services", "kv"))
    for key, value in _object(content.get("kv", {}), f"{place}.kv").items():
        if not isinstance(value, str):
            raise SnapshotError(f"{place}.kv.{_shown(key)}: not a text")
    found: dict[str, Entries] = {}
    for name, entries in _object(content.get("services", {}), f"{place}.services").items():
        if not isinstance(entries, list):
            raise SnapshotError(f"{place}.services.{_shown(name)}: not a list of instances")
        if name.lower() in found:
            raise SnapshotError(f"{place}.services.{_shown(name)}: the same service stands twice")
        found[name.lower()] = entries
    return found


def _object(raw: Any, place: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise SnapshotError(f"{place}: not an object".removeprefix(": "))
    return raw


def _only(content: Mapping[str, Any], place: str, *, known: tuple[str, ...]) -> None:
    for name in content:
        if name not in known:
            where = f"{place}.{_shown(name)}".removeprefix(".")
            raise SnapshotError(f"{where}: there is no such field; there is {' and '.join(known)}")


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(_shown, names))


def _shown(name: str) -> str:
    """A name out of the file, for people: short, and nothing but ASCII."""
    return ascii(name[:_SHOWN])[1:-1]


def _has(entry: Any, tags: tuple[str, ...]) -> bool:
    """Whether Consul, which does not care for upper and lower case, would filter it in."""
    if not tags:
        return True
    try:
        found = field_of(field_of(entry, "Service", dict), "Tags", list, [])
    except MalformedError:
        return False
    return {tag.lower() for tag in tags} <= {tag.lower() for tag in found if isinstance(tag, str)}


def _filter(query: ServiceQuery) -> Filter:
    try:
        return parse_filter(query.filter)
    except FilterError as error:
        raise SnapshotError(f"{query}: {error}") from error


def _lets_through(expression: Filter, entry: Any) -> bool:
    """Whether Consul would; an entry that is none of Consul's it would not have."""
    try:
        return expression(entry)
    except MalformedError:
        return False
