"""What was accepted last: a rejected edit falls back to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from consul_nginx.kube.children import state_config_map, state_ref
from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict, KubeRefused
from consul_nginx.kube.ownership import get_own, is_newer, owner_uid
from consul_nginx.kube.state import State, decode_state
from consul_nginx.kube.state_size import fitted
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The state ConfigMap's content, and its resourceVersion.

    ``load_balancer`` and ``mappings`` (by uid) are what can still be used of it, validated by
    today's rules. ``left_out`` counts, by kind, what an operator that starts now would not find,
    ``refusal`` is what the API server had against writing it.
    """

    state: State = field(default_factory=State)
    load_balancer: LoadBalancer | None = None
    mappings: Mapping[str, ServiceMapping] = field(default_factory=dict)
    resource_version: str | None = None
    owner: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    refusal: str | None = None


class Memory:
    """Reads a LoadBalancer's state once, and writes it when an accepted form is news.

    What can't be written is known as long as the process lives, and stops nothing.
    """

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._known: dict[ObjectRef, Remembered] = {}
        self._forgotten: set[ObjectRef] = set()

    async def recall(self, ref: ObjectRef) -> Remembered:
        """What was accepted last.

        Who left it as it was written here knows more of it than is in there.
        """
        known = self._known.get(ref)
        if known is None or ref in self._forgotten:
            raw = await get_own(kube=self._kube, kind=CONFIG_MAP, ref=state_ref(ref), owner=ref)
            found = _remembered(raw)
            if known is None or found.resource_version != known.resource_version:
                known = found
            elif known.refusal is not None:
                known = replace(known, owner="")  # so that it is tried again
            self._known[ref] = known
            self._forgotten.discard(ref)
        return known

    async def keep(
        self,
        *,
        load_balancer: LoadBalancer,
        state: State,
        before: Remembered,
        in_use: Collection[str] = (),
    ) -> None:
        """Remember ``state`` if it is news.

        ``before`` is what ``recall`` gave: it may have been forgotten since. ``in_use`` are uids of
        mappings that are served as they are remembered.
        """
        ref, uid = load_balancer.meta.ref, load_balancer.meta.uid
        if state == before.state and before.owner == uid:
            return
        # Of a state that is too large this takes seconds.
        fit = await asyncio.to_thread(fitted, state, in_use=in_use)
        body = state_config_map(
            load_balancer=load_balancer, data=fit.data, resource_version=before.resource_version
        )
        known = replace(_usable(state), owner=uid, left_out=fit.left_out)
        try:
            raw = await self._kube.write(CONFIG_MAP, body)
        except KubeConflict:
            self.forget(ref)
            raise
        except KubeRefused as error:
            version, refusal = before.resource_version, str(error).strip()
            self._known[ref] = replace(known, resource_version=version, refusal=refusal)
            _log.warning("%s: its state can't be remembered: %s", ref, refusal)
        else:
            version = raw["metadata"]["resourceVersion"]
            self._known[ref] = replace(known, resource_version=version)
            self._forgotten.discard(ref)

    def trouble(self, ref: ObjectRef) -> Remembered | None:
        """What is remembered, when an operator that starts now would not find all of it."""
        known = self._known.get(ref)
        return known if known is not None and (known.left_out or known.refusal) else None

    def knows(self, raw: Raw, ref: ObjectRef) -> bool:
        """Whether a state ConfigMap is one that was read or written here, or older."""
        known = None if ref in self._forgotten else self._known.get(ref)
        return known is None or not is_newer(raw, than=known.resource_version)

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time."""
        self._forgotten.add(ref)

    def forget_all(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self._known.pop(ref, None)
        self._forgotten.discard(ref)


def _remembered(raw: Raw | None) -> Remembered:
    if raw is None:
        return Remembered()
    return replace(
        _usable(decode_state(raw.get("binaryData") or {})),
        resource_version=raw["metadata"]["resourceVersion"],
        owner=owner_uid(raw),
    )


def _usable(state: State) -> Remembered:
    parsed = {uid: parse_service_mapping(item) for uid, item in state.mappings.items()}
    load_balancer = (
        parse_load_balancer(state.load_balancer) if state.load_balancer is not None else None
    )
    return Remembered(
        state=state,
        load_balancer=None if isinstance(load_balancer, Invalid) else load_balancer,
        mappings={uid: item for uid, item in parsed.items() if not isinstance(item, Invalid)},
    )
