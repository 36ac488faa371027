"""Secrets, read by name; nothing of them is kept."""

from __future__ import annotations

from base64 import b64decode

from consul_nginx.kube.client import SECRET, KubeClient, Raw
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.model.kubernetes import ObjectRef


class SecretForbidden(KubeRefused):
    """The operator may not read Secrets there."""


async def get_secret(*, kube: KubeClient, ref: ObjectRef) -> Raw | None:
    """The whole Secret; None when there is none. Raises ``SecretForbidden`` with the way out."""
    try:
        return await kube.get(SECRET, ref)
    except KubeRefused as error:
        raise SecretForbidden(
            f"can't be read: {str(error).strip()}; the chart's secrets.namespaces has to have "
            f"{ref.namespace}"
        ) from error


async def read_secret(*, kube: KubeClient, ref: ObjectRef, key: str) -> str:
    """One value as text; raises ``KubeRefused`` when there is none, and says why."""
    try:
        raw = await get_secret(kube=kube, ref=ref)
    except SecretForbidden as error:
        raise KubeRefused(f"Secret {ref} {error}") from error
    if raw is None:
        raise KubeRefused(f"Secret {ref} does not exist; create it or name another one")
    data = raw.get("data") or {}
    if key not in data:
        has = ", ".join(sorted(data)) or "none"
        raise KubeRefused(f"Secret {ref} has no key {key!r}; it has: {has}")
    return b64decode(data[key]).decode("utf-8", errors="replace").strip()
