"""What to do next, from what is wanted and what nginx runs. Pure.

===================  ======================  =====================================
wanted               nginx runs              then
===================  ======================  =====================================
nothing              anything                idle
anything             no answer               idle (asked again soon)
H                    H                       adopt: no load, whatever the revision
H, refused           other                   idle until the refusal's time is over
H                    other, same structure   load without a test (only endpoints)
H                    other                   load with a test
H                    nothing                 load with a test
===================  ======================  =====================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from consul_nginx.agent.state import Nginx, Rejection, Wanted

Reason = Literal["structure", "endpoints", "start"]


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """nginx runs what is wanted."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Ask the supervisor."""

    test: bool
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A hash that is left alone for a while; ``retry_at`` None is until the next ConfigMap.

    What made a reload fail (a port, a zone) may be over when another master runs, so ``master``
    limits the refusal too; a start has none.
    """

    hash: str
    master: int | None
    retry_at: float | None

    def holds(self, *, wanted: Wanted, nginx: Nginx, now: float) -> bool:
        """Whether to leave ``wanted`` alone."""
        replaced = self.master is not None and nginx.master not in (None, self.master)
        over = self.retry_at is not None and now >= self.retry_at
        return self.hash == wanted.hash and not replaced and not over


def decide(
    *,
    wanted: Wanted | None,
    nginx: Nginx | None,
    structure: str | None,
    refusal: Refusal | None,
    now: float,
) -> Idle | Adopt | Load:
    """The table above; ``structure`` is that of the bundle that nginx runs, if known."""
    if wanted is None or nginx is None:
        return Idle()
    if nginx.hash == wanted.hash:
        return Adopt()
    if refusal and refusal.holds(wanted=wanted, nginx=nginx, now=now):
        return Idle()
    if nginx.hash is None:
        return Load(test=True, reason="start")
    if structure == wanted.structure:
        return Load(test=False, reason="endpoints")
    return Load(test=True, reason="structure")


def worth_a_retry(rejection: Rejection) -> bool:
    """Whether the same bundle may pass later: not what ``nginx -t`` itself complained about."""
    return rejection.stage != "test" or not _complaint(rejection)


def worth_a_search(rejection: Rejection) -> bool:
    """Whether files may be to blame: nginx has said so, and not only run out of time."""
    return rejection.stage in ("test", "reload", "start") and _complaint(rejection)


def _complaint(rejection: Rejection) -> bool:
    return "[emerg]" in rejection.message
