"""From plan and nginx's own answers to the conditions that people read. Pure.

``Programmed`` speaks by generation: every ready pod serves a revision that contains the object's
present generation. It does not speak of endpoints that moved a moment ago: it would never rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from consul_nginx.model.pods import PodRejection, PodReport
from consul_nginx.model.verdict import Condition, Status

MAX_STALE_PODS = 20


@dataclass(frozen=True, kw_only=True)
class StalePod:
    """A pod that does not serve the newest revision, and why."""

    pod: str
    message: str


@dataclass(frozen=True, kw_only=True)
class DataPlaneState:
    """What a LoadBalancer's pods run, in numbers."""

    desired: int
    ready: int
    updated: int
    stale: tuple[StalePod, ...]

    @property
    def conforms(self) -> bool:
        """Every pod that is asked for is there, ready and up to date."""
        return self.desired == self.ready == self.updated and not self.stale


def data_plane_state(*, desired: int, revision: int, pods: Iterable[PodReport]) -> DataPlaneState:
    """Count; ``revision`` is the newest one written."""
    reports = tuple(pods)
    ready = [pod for pod in reports if pod.ready]
    return DataPlaneState(
        desired=desired,
        ready=len(ready),
        updated=sum(_serves_all(pod, revision) for pod in ready),
        stale=tuple(
            StalePod(pod=pod.pod, message=_why_stale(pod, revision))
            for pod in reports
            if not (pod.ready and _serves_all(pod, revision))
        )[:MAX_STALE_PODS],
    )


def programmed(
    *,
    revision: int | None,
    pods: Iterable[PodReport],
    paused: bool = False,
    refusal: str | None = None,
) -> Condition:
    """Whether every ready pod serves ``revision`` or a later one.

    ``revision`` is the first one that contains the object's present generation, None when there is
    none yet; ``paused`` is why none is written, ``refusal`` what the API server had against it.
    """

    def condition(status: Status, reason: str, message: str) -> Condition:
        return Condition(type="Programmed", status=status, reason=reason, message=message)

    if refusal is not None:
        return condition(Status.FALSE, "Refused", f"the API server refuses: {refusal}")
    if paused and revision is None:
        return condition(
            Status.FALSE,
            "Paused",
            "the LoadBalancer's spec.paused is true: nginx is told of it when it is false again",
        )
    if revision is None:
        return condition(Status.FALSE, "Pending", "nginx is about to be told of it")
    reports = tuple(pods)
    ready = [pod for pod in reports if pod.ready]
    behind = [pod for pod in ready if not _serves(pod, revision)]
    if ready and not behind:
        count = "1 nginx pod serves" if len(ready) == 1 else f"{len(ready)} nginx pods serve"
        return condition(Status.TRUE, "Programmed", f"{count} it")
    rejecting = [pod for pod in behind or reports if pod.rejection is not None]
    if rejecting:
        pod = rejecting[0]
        return condition(Status.FALSE, "Rejected", f"pod {pod.pod}: {pod.rejection}")
    if not ready:
        why = next((f": {pod.pod}: {pod.problem}" for pod in reports if pod.problem), "")
        return condition(Status.FALSE, "NoReadyPods", f"no nginx pod is ready{why}")
    return condition(
        Status.FALSE,
        "Pending",
        f"{len(ready) - len(behind)} of {len(ready)} ready nginx pods serve it",
    )


def ready(*, accepted: Condition, programmed: Condition) -> Condition:
    """``Ready`` of a LoadBalancer: the first of the two that does not hold says why."""
    for condition in (accepted, programmed):
        if not condition.is_true:
            return Condition(
                type="Ready",
                status=Status.FALSE,
                reason=condition.reason,
                message=condition.message,
            )
    return Condition(type="Ready", status=Status.TRUE, reason="Ready", message=programmed.message)


def rejected_by_nginx(message: str) -> Condition:
    """``Programmed`` of what stands in a listener that nginx refused, and that was left out."""
    return Condition(
        type="Programmed",
        status=Status.FALSE,
        reason="Rejected",
        message=f"{message}; all the rest is served",
    )


def template_without_text(problems: tuple[Condition, ...]) -> Condition:
    """``Programmed`` of a LoadBalancer with a template that can't be rendered at present."""
    return Condition(
        type="Programmed",
        status=Status.FALSE,
        reason=problems[0].reason,
        message=f"{'; '.join(item.message for item in problems)}; nginx keeps what it has of it",
    )


def common_rejection(*, digest: str, pods: Iterable[PodReport]) -> PodRejection | None:
    """What every pod says against the bundle with this hash; None while one has no such say.

    One pod may have a trouble of its own, as a port that is taken on its node: the others are then
    not to miss anything.
    """
    reports = [pod for pod in pods if pod.rejection is not None or pod.revision is not None]
    rejections = [pod.rejection for pod in reports if pod.rejection is not None]
    if not rejections or len(rejections) < len(reports):
        return None
    if any(item.hash != digest or not item.files for item in rejections):
        return None
    common = set.intersection(*(set(item.files or ()) for item in rejections))
    return replace(rejections[0], files=tuple(sorted(common))) if common else None


def paused() -> Condition:
    """``Ready`` of a LoadBalancer that nobody looks after, whatever its nginx serves."""
    return Condition(
        type="Ready",
        status=Status.FALSE,
        reason="Paused",
        message="spec.paused is true: nginx keeps what it has; set it to false to go on",
    )


def resolved_of_all(conditions: Iterable[Condition]) -> Condition:
    """``ResolvedRefs`` of a LoadBalancer: the worst of its mappings'."""
    order = {Status.UNKNOWN: 0, Status.FALSE: 1, Status.TRUE: 2}
    worst = min(conditions, key=lambda item: (order[item.status], item.message), default=None)
    if worst is None or worst.is_true:
        return Condition(
            type="ResolvedRefs",
            status=Status.TRUE,
            reason="ResolvedRefs",
            message="Consul answers for every mapping",
        )
    return worst


_KINDS = {
    "texts": "texts of listeners that nginx ran",
    "services": "Consul services' instances",
    "mappings": "mappings as they were accepted last",
    "load_balancer": "the LoadBalancer as it was accepted last",
}


def remembered(*, left_out: Mapping[str, int], refusal: str | None) -> Condition:
    """``Remembered`` of a LoadBalancer of which an operator that starts now would not know all.

    ``left_out`` counts by kind what its state had no room for, ``refusal`` is what the API server
    had against it.
    """
    if refusal is not None:
        return Condition(
            type="Remembered",
            status=Status.FALSE,
            reason="StateRefused",
            message=(
                f"the API server refuses the ConfigMap with its state: {refusal}; all is served, "
                "but after a restart of the operator nobody knows what was accepted before"
            ),
        )
    counts = ", ".join(
        f"{left_out[kind]} {words}" for kind, words in _KINDS.items() if left_out.get(kind)
    )
    return Condition(
        type="Remembered",
        status=Status.FALSE,
        reason="StateTooLarge",
        message=(
            f"the ConfigMap with its state has no room for: {counts}; all is served, but after a "
            "restart of the operator what is rejected then can't be served as it was before: "
            "spread mappings and templates over several LoadBalancers"
        ),
    )


def _serves(pod: PodReport, revision: int) -> bool:
    return pod.revision is not None and pod.revision >= revision


def _serves_all(pod: PodReport, revision: int) -> bool:
    """One that lacks a Secret serves all of the revision but what needs it."""
    return _serves(pod, revision) and not (pod.rejection and pod.rejection.stage == "secret")


def _why_stale(pod: PodReport, revision: int) -> str:
    if pod.problem is not None:
        return pod.problem
    if pod.rejection is not None:
        return str(pod.rejection)
    if pod.revision is None:
        return "serves nothing yet"
    if not _serves(pod, revision):
        return f"serves revision {pod.revision}, the newest is {revision}"
    return "not ready"
