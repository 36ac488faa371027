"""What was accepted last: a rejected edit falls back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consul_nginx.kube.children import state_config_map, state_ref
from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict
from consul_nginx.kube.ownership import get_own, is_newer, owner_uid
from consul_nginx.kube.state import State, decode_state, encode_state
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The state ConfigMap's content, and its resourceVersion.

    ``load_balancer`` and ``mappings`` (by uid) are what can still be used of it, validated by
    today's rules.
    """

    state: State = field(default_factory=State)
    load_balancer: LoadBalancer | None = None
    mappings: Mapping[str, ServiceMapping] = field(default_factory=dict)
    resource_version: str | None = None
    owner: str = ""


class Memory:
    """Reads a LoadBalancer's state once, and writes it when an accepted form is news."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._known: dict[ObjectRef, Remembered] = {}

    async def recall(self, ref: ObjectRef) -> Remembered:
        """What was accepted last."""
        if ref not in self._known:
            raw = await get_own(kube=self._kube, kind=CONFIG_MAP, ref=state_ref(ref), owner=ref)
            self._known[ref] = _remembered(raw)
        return self._known[ref]

    async def keep(self, *, load_balancer: LoadBalancer, state: State, before: Remembered) -> None:
        """Remember ``state`` if it is news.

        ``before`` is what ``recall`` gave: it may have been forgotten since.
        """
        ref = load_balancer.meta.ref
        if state == before.state and before.owner == load_balancer.meta.uid:
            return
        body = state_config_map(
            load_balancer=load_balancer,
            data=encode_state(state),
            resource_version=before.resource_version,
        )
        try:
            self._known[ref] = _remembered(await self._kube.write(CONFIG_MAP, body))
        except KubeConflict:
            self.forget(ref)
            raise

    def knows(self, raw: Raw, ref: ObjectRef) -> bool:
        """Whether a state ConfigMap is one that was read or written here, or older."""
        known = self._known.get(ref)
        return known is None or not is_newer(raw, than=known.resource_version)

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time."""
        self._known.pop(ref, None)


def _remembered(raw: Raw | None) -> Remembered:
    if raw is None:
        return Remembered()
    state = decode_state(raw.get("binaryData") or {})
    parsed = {uid: parse_service_mapping(item) for uid, item in state.mappings.items()}
    load_balancer = (
        parse_load_balancer(state.load_balancer) if state.load_balancer is not None else None
    )
    return Remembered(
        state=state,
        load_balancer=None if isinstance(load_balancer, Invalid) else load_balancer,
        mappings={uid: item for uid, item in parsed.items() if not isinstance(item, Invalid)},
        resource_version=raw["metadata"]["resourceVersion"],
        owner=owner_uid(raw),
    )
