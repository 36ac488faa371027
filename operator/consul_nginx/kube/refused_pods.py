"""Why the pods of a workload can't be created: a Deployment says so, of a DaemonSet Events tell."""

from __future__ import annotations

from consul_nginx.kube.client import EVENT, KubeClient, Raw
from consul_nginx.kube.workload import lacks_pods, refusal_words, refused_pods


async def pods_refusal(*, kube: KubeClient, workload: Raw | None) -> str | None:
    """The API server's words; None when it does not refuse pods."""
    if workload is None:
        return None
    if workload["kind"] == "Deployment":
        return refused_pods(workload)
    if not lacks_pods(workload):
        return None
    metadata = workload["metadata"]
    found = await kube.list(
        EVENT,
        namespace=metadata["namespace"],
        field_selector=f"involvedObject.uid={metadata['uid']},reason=FailedCreate",
    )
    newest = max(found["items"], key=_last_seen, default=None)
    if newest is None:
        return None
    return refusal_words(workload=workload, words=str(newest.get("message", "")))


def _last_seen(event: Raw) -> str:
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
