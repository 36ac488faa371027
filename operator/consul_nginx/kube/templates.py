"""The ConfigMaps that templates stand in."""

from __future__ import annotations

from collections import Counter

from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.model.config_map import TEMPLATE_LABEL
from consul_nginx.model.kubernetes import ObjectRef

TEMPLATE_SELECTOR = f"{TEMPLATE_LABEL}=true"


class TemplateNotFoundError(Exception):
    """There is no template where one was named; the message says what is missing."""


class TemplateStore:
    """Reads each ConfigMap once, and again after it changed."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube
        self._known: dict[ObjectRef, Raw | None] = {}
        self._changes: Counter[ObjectRef] = Counter()

    async def read(self, ref: ObjectRef, key: str) -> str:
        """The template; raises ``TemplateNotFoundError`` and ``KubeError``."""
        if ref in self._known:
            return template_in(self._known[ref], key=key)
        changes = self._changes[ref]
        raw = await self._kube.get(CONFIG_MAP, ref)
        if self._changes[ref] == changes:
            self._known[ref] = raw
        return template_in(raw, key=key)

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time, also when it is just being read."""
        self._known.pop(ref, None)
        self._changes[ref] += 1


def template_in(raw: Raw | None, *, key: str) -> str:
    """The template under ``key``; raises ``TemplateNotFoundError``.

    Without the label it isn't read: who may write a LoadBalancer is not to see by its messages what
    other ConfigMaps say.
    """
    if raw is None:
        raise TemplateNotFoundError("there is no such ConfigMap; create it")
    if (raw["metadata"].get("labels") or {}).get(TEMPLATE_LABEL) != "true":
        raise TemplateNotFoundError(
            f'it lacks the label {TEMPLATE_LABEL}: "true", without which it is not read'
        )
    data = raw.get("data") or {}
    if key not in data:
        raise TemplateNotFoundError(
            f"there is no such key in it; it has: {', '.join(sorted(data)) or 'none'}"
        )
    if not isinstance(data[key], str):
        raise TemplateNotFoundError(f"data.{key} is not a text")
    text: str = data[key]
    return text
