"""One value of one Secret; nothing of it is kept."""

from __future__ import annotations

from base64 import b64decode

from consul_nginx.kube.client import SECRET, KubeClient
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.model.kubernetes import ObjectRef


async def read_secret(*, kube: KubeClient, ref: ObjectRef, key: str) -> str:
    """The value as text; raises ``KubeRefused`` when there is none, and says why."""
    try:
        raw = await kube.get(SECRET, ref)
    except KubeRefused as error:
        raise KubeRefused(
            f"Secret {ref} can't be read: {str(error).strip()}; the chart's secrets.namespaces "
            f"has to have {ref.namespace}"
        ) from error
    if raw is None:
        raise KubeRefused(f"Secret {ref} does not exist; create it or name another one")
    data = raw.get("data") or {}
    if key not in data:
        has = ", ".join(sorted(data)) or "none"
        raise KubeRefused(f"Secret {ref} has no key {key!r}; it has: {has}")
    return b64decode(data[key]).decode("utf-8", errors="replace").strip()
