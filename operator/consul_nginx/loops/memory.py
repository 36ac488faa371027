"""The last accepted form of every mapping: what a rejected edit falls back to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consul_nginx.kube.children import state_config_map, state_ref
from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict
from consul_nginx.kube.ownership import refuse_foreign
from consul_nginx.kube.state import decode_state, encode_state
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef, ServiceMapping
from consul_nginx.plan.load_balancer import Plan
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.service_mapping import parse_service_mapping


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Mappings by uid as the state ConfigMap has them, and its resourceVersion."""

    raws: Mapping[str, Raw] = field(default_factory=dict)
    resource_version: str | None = None
    owner: str = ""

    def mappings(self) -> dict[str, ServiceMapping]:
        """Those that can still be used, validated by today's rules."""
        parsed = {uid: parse_service_mapping(raw) for uid, raw in self.raws.items()}
        return {uid: item for uid, item in parsed.items() if not isinstance(item, Invalid)}


class Memory:
    """Reads a LoadBalancer's state once, and writes it when an accepted form is news."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._known: dict[ObjectRef, Remembered] = {}

    async def recall(self, load_balancer: LoadBalancer) -> Remembered:
        """What was accepted last."""
        ref = load_balancer.meta.ref
        if ref not in self._known:
            raw = await self._kube.get(CONFIG_MAP, state_ref(ref))
            if raw is not None:
                refuse_foreign(raw=raw, load_balancer=load_balancer)
            self._known[ref] = _remembered(raw)
        return self._known[ref]

    async def keep(
        self, *, load_balancer: LoadBalancer, plan: Plan, present: Mapping[str, Raw]
    ) -> None:
        """Remember the accepted ones of ``present``, and what stands in for the others."""
        ref = load_balancer.meta.ref
        before = self._known[ref]
        accepted = {m.meta.uid for m, verdict in plan.mappings if verdict.accepted.is_true}
        raws = {uid: raw for uid, raw in present.items() if uid in accepted}
        raws |= {uid: before.raws[uid] for uid in present.keys() & before.raws.keys() - accepted}
        if raws == before.raws and before.owner == load_balancer.meta.uid:
            return
        body = state_config_map(
            load_balancer=load_balancer,
            data=encode_state(raws),
            resource_version=before.resource_version,
        )
        try:
            write = self._kube.create if before.resource_version is None else self._kube.replace
            self._known[ref] = _remembered(await write(CONFIG_MAP, body))
        except KubeConflict:
            self.forget(ref)
            raise

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time."""
        self._known.pop(ref, None)


def _remembered(raw: Raw | None) -> Remembered:
    if raw is None:
        return Remembered()
    owners = raw["metadata"].get("ownerReferences") or [{}]
    return Remembered(
        raws=decode_state(raw.get("binaryData") or {}),
        resource_version=raw["metadata"]["resourceVersion"],
        owner=owners[0].get("uid", ""),
    )
