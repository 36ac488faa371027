"""What the agent knows, as values, and as the JSON of ``GET /status``. Pure.

``docs/reference/bundle.md`` is the contract; the operator reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Stage = Literal["decode", "secret", "unpack", "test", "reload", "verify", "start", "supervisor"]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of nginx's workers."""

    pid: int
    shutting_down: bool
    generation: int


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """What the supervisor says of nginx; ``hash`` is None while nginx runs no verified bundle."""

    hash: str | None
    master: int | None
    workers: tuple[Worker, ...]
    reloads: int
    restarts: int

    @property
    def shutting_down(self) -> int:
        """Workers that only finish what they have."""
        return sum(worker.shutting_down for worker in self.workers)

    @property
    def draining_generations(self) -> int:
        """Generations that hold memory only to finish what they have."""
        return len({worker.generation for worker in self.workers if worker.shutting_down})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The newest bundle that could be unpacked."""

    hash: str
    structure: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The bundle that nginx runs; ``revision`` is None when its manifest is not there any more."""

    hash: str
    revision: int | None
    since: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the newest ConfigMap's manifest says."""

    hash: str | None
    revision: int | None


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why the newest bundle seen is not served, in nginx's own words.

    ``files`` are those of the bundle that are to blame; None while they are looked for.
    """

    hash: str | None
    revision: int | None
    stage: Stage
    message: str
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """All of it."""

    serving: Serving | None = None
    seen: Seen | None = None
    rejection: Rejection | None = None
    nginx: Nginx | None = None
    unpacked: bool = False

    @property
    def ready(self) -> bool:
        """Whether nginx serves a bundle."""
        return self.nginx is not None and self.nginx.hash is not None


def to_json(state: State, *, configmap: str) -> dict[str, object]:
    """The body of ``GET /status``."""
    serving, seen, rejection, nginx = state.serving, state.seen, state.rejection, state.nginx
    return {
        "configMap": configmap,
        "serving": serving
        and {
            "hash": serving.hash,
            "revision": serving.revision,
            "since": timestamp(serving.since),
        },
        "seen": seen and {"hash": seen.hash, "revision": seen.revision},
        "rejection": rejection
        and {
            "hash": rejection.hash,
            "revision": rejection.revision,
            "stage": rejection.stage,
            "message": rejection.message,
            "files": None if rejection.files is None else list(rejection.files),
        },
        "nginx": nginx
        and {
            "master": nginx.master,
            "workers": len(nginx.workers) - nginx.shutting_down,
            "shuttingDown": nginx.shutting_down,
            "reloads": nginx.reloads,
            "restarts": nginx.restarts,
        },
    }


def timestamp(seconds: float) -> str:
    """Kubernetes' form of a point in time."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
