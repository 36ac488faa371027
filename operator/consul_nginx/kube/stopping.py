"""Stops a Deployment, and waits until nothing of it runs any more."""

from __future__ import annotations

import asyncio

from consul_nginx.kube.client import DEPLOYMENT, POD, KubeClient
from consul_nginx.kube.errors import KubeUnavailable
from consul_nginx.model.kubernetes import ObjectRef

PATIENCE_S = 60.0
PAUSE_S = 0.5


async def stop_deployment(*, kube: KubeClient, ref: ObjectRef) -> None:
    """Scale to 0, and return once its pods are gone; one that isn't there is as good.

    Raises ``KubeError``.
    """
    raw = await kube.get(DEPLOYMENT, ref)
    if raw is None:
        return
    body = {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": {"namespace": ref.namespace, "name": ref.name},
        "spec": {"replicas": 0},
    }
    await kube.apply(DEPLOYMENT, body)
    labels = raw["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while (await kube.list(POD, namespace=ref.namespace, label_selector=selector))["items"]:
        if loop.time() > deadline:
            raise KubeUnavailable(f"pods of {ref} still run after {PATIENCE_S:.0f} s")
        await asyncio.sleep(PAUSE_S)
