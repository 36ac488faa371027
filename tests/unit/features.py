"""The golden folders, one per feature: what people declare, and what Consul says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from consul_nginx.commands.declared import declarations
from consul_nginx.commands.manifests import Manifest, read_manifests
from consul_nginx.commands.own_templates import own_texts
from consul_nginx.commands.snapshots import Recorded, parse_snapshot
from consul_nginx.commands.tls_secrets import (
    TlsSecrets,
    certificates_of,
    findings_on,
    tls_secrets,
)
from consul_nginx.commands.users_secrets import UsersSecrets, users_of, users_secrets_in
from consul_nginx.model.consul import UNKNOWN, Observation, ServiceQuery
from consul_nginx.model.history import advance
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.template import OwnText
from consul_nginx.plan.authorities import authorities_of
from consul_nginx.plan.load_balancer import Plan, bound
from consul_nginx.plan.permissions import Permissions
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import planned

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/manifest.yaml"))
NOW = 1795331400.0  # 2026-11-22T07:10:00Z

_AS_WRITTEN: Mapping[str, int] = MappingProxyType({})


def manifests(name: str) -> list[dict[str, Any]]:
    """The objects of a folder, as people write them."""
    return list(yaml.safe_load_all((GOLDEN / name / "manifest.yaml").read_text()))


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A folder, understood; ``earlier`` is what Consul said before, in order of time."""

    load_balancer: LoadBalancer
    mappings: tuple[ServiceMapping, ...]
    manifests: tuple[Manifest, ...]
    namespace_labels: Mapping[str, Mapping[str, str]]
    consul: Recorded
    earlier: tuple[tuple[float, Recorded], ...] = ()
    own: tuple[OwnText, ...] = ()

    @classmethod
    def read(cls, name: str, *, ports: Mapping[str, int] = _AS_WRITTEN) -> Feature:
        """``ports``: other ones for listeners, by name."""
        raws = [_stored(raw, position) for position, raw in enumerate(manifests(name))]
        labels = {
            raw["metadata"]["name"]: raw["metadata"].get("labels", {})
            for raw in raws
            if raw["kind"] == "Namespace"
        }
        [raw] = [raw for raw in raws if raw["kind"] == "LoadBalancer"]
        for listener in raw["spec"]["listeners"]:
            listener["port"] = ports.get(listener["name"], listener["port"])
        load_balancer = parse_load_balancer(raw)
        mappings = [parse_service_mapping(raw) for raw in raws if raw["kind"] == "ServiceMapping"]
        assert isinstance(load_balancer, LoadBalancer), load_balancer
        valid = tuple(
            bound(mapping=item, load_balancer=load_balancer)
            for item in mappings
            if isinstance(item, ServiceMapping)
        )
        assert len(valid) == len(mappings), mappings
        consul = parse_snapshot((GOLDEN / name / "consul.json").read_text())
        objects = tuple(Manifest(file="manifest.yaml", raw=raw) for raw in raws)
        earlier = (
            (NOW - 60.0 * int(path.stem.split("-")[1].removesuffix("m")), path)
            for path in (GOLDEN / name).glob("consul-*m-ago.json")
        )
        own = tuple(_listening(one, raw, name) for one in _own_texts(name, consul=consul))
        return cls(
            load_balancer=load_balancer,
            mappings=valid,
            manifests=objects,
            namespace_labels=labels,
            consul=consul,
            earlier=tuple((at, parse_snapshot(path.read_text())) for at, path in sorted(earlier)),
            own=own,
        )

    @property
    def secrets(self) -> TlsSecrets:
        """Those with certificates for listeners."""
        return tls_secrets(self.manifests, namespace="shop")

    @property
    def users(self) -> UsersSecrets:
        """Those with users for mappings."""
        return users_secrets_in(self.manifests, mappings=self.mappings, namespace="shop")

    @property
    def held(self) -> Mapping[ObjectRef, Mapping[str, Any]]:
        """All of both, with what is in them."""
        return {
            **{ref: secret.raw for ref, secret in self.secrets.items()},
            **{ref: secret.raw for ref, secret in self.users.items()},
        }

    def plan(self) -> Plan:
        """All mappings are accepted."""
        queries = {query for mapping in self.mappings for query in mapping.queries}
        named = authorities_of(load_balancer=self.load_balancer, mappings=self.mappings)
        found = findings_on(named, self.manifests, namespace="shop")
        plan = planned(
            load_balancer=self.load_balancer,
            mappings=self.mappings,
            snapshot={query: self._observe(query) for query in queries},
            now=NOW,
            certificates=certificates_of(self.load_balancer, self.secrets, found).usable,
            authorities=found,
            users=users_of(self.load_balancer, self.mappings, self.users),
            permissions=Permissions(namespace_labels=self.namespace_labels),
            own=self.own,
        )
        rejected = [verdict for _, verdict in plan.mappings if not verdict.accepted.is_true]
        assert not rejected, rejected
        return plan

    def _observe(self, query: ServiceQuery) -> Observation:
        """What is said now, with the history of what was said earlier."""
        seen = UNKNOWN
        for at, consul in (*self.earlier, (NOW, self.consul)):
            now = consul.observe(query)
            history = (
                {}
                if seen.instances is None
                else advance(
                    before=seen.instances, history=seen.history, now=now.instances or (), at=at
                )
            )
            seen = replace(now, history=history)
        return seen


def _own_texts(name: str, *, consul: Recorded) -> tuple[OwnText, ...]:
    """Templates with their texts, as ``consul-nginx render`` makes them."""
    declared = declarations(
        read_manifests([str(GOLDEN / name / "manifest.yaml")]), namespace="default"
    )
    found = asyncio.run(own_texts(declared, policy=None, namespace="default", ask=consul.answer))
    own = tuple(one for texts in found.values() for one in texts)
    assert all(one.text is not None for one in own), own
    return own


def _listening(own: OwnText, raw: dict[str, Any], name: str) -> OwnText:
    """The same with the listeners' other ports."""
    [written] = [item for item in manifests(name) if item["kind"] == "LoadBalancer"]
    text = own.text or ""
    for before, after in zip(written["spec"]["listeners"], raw["spec"]["listeners"], strict=True):
        text = text.replace(f"listen {before['port']};", f"listen {after['port']};")
    return replace(own, text=text)


def _stored(raw: dict[str, Any], position: int) -> dict[str, Any]:
    metadata = {"uid": f"uid-{position}", "creationTimestamp": "2026-11-22T07:00:00Z"}
    return {**raw, "metadata": {**metadata, **raw["metadata"]}}
