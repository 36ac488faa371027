"""The last accepted form of every mapping: what a rejected edit falls back to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consul_nginx.kube.children import state_config_map, state_ref
from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict
from consul_nginx.kube.ownership import get_own, owner_uid
from consul_nginx.kube.state import decode_state, encode_state
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef, ServiceMapping
from consul_nginx.plan.load_balancer import Plan
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.service_mapping import parse_service_mapping


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Mappings by uid as the state ConfigMap has them, and its resourceVersion.

    ``mappings`` are those that can still be used, validated by today's rules.
    """

    raws: Mapping[str, Raw] = field(default_factory=dict)
    mappings: Mapping[str, ServiceMapping] = field(default_factory=dict)
    resource_version: str | None = None
    owner: str = ""


class Memory:
    """Reads a LoadBalancer's state once, and writes it when an accepted form is news."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._known: dict[ObjectRef, Remembered] = {}

    async def recall(self, load_balancer: LoadBalancer) -> Remembered:
        """What was accepted last."""
        ref = load_balancer.meta.ref
        if ref not in self._known:
            raw = await get_own(
                kube=self._kube,
                kind=CONFIG_MAP,
                ref=state_ref(ref),
                load_balancer=load_balancer,
            )
            self._known[ref] = _remembered(raw)
        return self._known[ref]

    async def keep(
        self,
        *,
        load_balancer: LoadBalancer,
        plan: Plan,
        present: Mapping[str, Raw],
        before: Remembered,
    ) -> None:
        """Remember the accepted ones of ``present``, and what stands in for the others.

        ``before`` is what ``recall`` gave: it may have been forgotten since.
        """
        ref = load_balancer.meta.ref
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
            self._known[ref] = _remembered(await self._kube.write(CONFIG_MAP, body))
        except KubeConflict:
            self.forget(ref)
            raise

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time."""
        self._known.pop(ref, None)


def _remembered(raw: Raw | None) -> Remembered:
    if raw is None:
        return Remembered()
    raws = decode_state(raw.get("binaryData") or {})
    parsed = {uid: parse_service_mapping(item) for uid, item in raws.items()}
    return Remembered(
        raws=raws,
        mappings={uid: item for uid, item in parsed.items() if not isinstance(item, Invalid)},
        resource_version=raw["metadata"]["resourceVersion"],
        owner=owner_uid(raw),
    )
