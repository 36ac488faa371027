"""The supervisor: which activity comes next, and what each request and signal means.

One activity at a time. While one is under way (a load, or reviving nginx) the loop goes on serving
signals, nginx's standard error and ``status``.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consul_nginx.agent.supervisor import protocol
from consul_nginx.agent.supervisor.protocol import Failure

if TYPE_CHECKING:
    from consul_nginx.agent.logs import Log
    from consul_nginx.agent.supervisor.bundles import Bundles
    from consul_nginx.agent.supervisor.children import Children
    from consul_nginx.agent.supervisor.loop import Loop, Signals
    from consul_nginx.agent.supervisor.nginx import Clock, Nginx
    from consul_nginx.agent.supervisor.server import Reply

Activity = Generator[float, None, None]

_FIRST_BACKOFF = 0.1
_LAST_BACKOFF = 2.0
_STABLE_AFTER = 10.0
_STOPPING_LOOK = 0.5


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A load or a trial that waits for its turn."""

    request: protocol.Load | protocol.Trial
    reply: Reply


class Supervisor:
    """Owns nginx for the life of the container."""

    def __init__(
        self,
        *,
        nginx: Nginx,
        bundles: Bundles,
        loop: Loop,
        signals: Signals,
        children: Children,
        clock: Clock,
        log: Log,
    ) -> None:
        self._nginx = nginx
        self._bundles = bundles
        self._loop = loop
        self._signals = signals
        self._children = children
        self._clock = clock
        self._log = log
        self._serving: str | None = None
        self._trusted: str | None = None
        self._serving_since = 0.0
        self._restarts = 0
        self._backoff = _FIRST_BACKOFF
        self._revive_at = clock()
        self._stopping = False
        self._waiting: deque[Waiting] = deque()
        self._under_way: Waiting | None = None
        self._activity: Activity | None = None
        self._resume_at = 0.0

    # requests

    def handle(
        self, request: protocol.Load | protocol.Trial | protocol.Status, reply: Reply
    ) -> None:
        """Answer ``status`` now, the others when their turn has come."""
        if isinstance(request, protocol.Status):
            reply(self.status())
        elif self._stopping:
            reply(protocol.error("nginx is being stopped"))
        elif not self._exists(request):
            reply(protocol.error(f"there is no bundle {request.hash}"))
        else:
            self._waiting.append(Waiting(request=request, reply=reply))

    def _exists(self, request: protocol.Load | protocol.Trial) -> bool:
        if isinstance(request, protocol.Trial):
            return self._bundles.trial_exists(request.hash)
        return self._bundles.exists(request.hash)

    def status(self) -> dict[str, object]:
        """What runs, as the agent wants to know it."""
        master = self._nginx.master
        return {
            "ok": True,
            "hash": self._serving,
            "master": master.pid if master and self._nginx.running else None,
            "workers": self._nginx.workers(),
            "reloads": self._nginx.reloads,
            "restarts": self._restarts,
        }

    # the loop

    def run(self) -> None:
        """Until a signal asked to stop and nginx is gone."""
        while not self._finished():
            self._loop.turn(timeout=self._advance())
            for number in self._signals.take():
                self._on_signal(number)

    def _finished(self) -> bool:
        return self._stopping and not self._nginx.running and not self._nginx.orphans()

    def _advance(self) -> float | None:
        """Drive the activity as far as it goes; returns how long the loop may sleep."""
        if self._stopping:
            return _STOPPING_LOOK
        while True:
            if not self._activity:
                self._activity = self._next_activity()
                self._resume_at = 0.0
            if not self._activity:
                return self._until_revival()
            rest = self._resume_at - self._clock()
            if rest > 0:
                return rest
            try:
                self._resume_at = self._clock() + next(self._activity)
            except StopIteration:
                self._activity = None

    def _next_activity(self) -> Activity | None:
        if self._waiting:
            self._under_way = waiting = self._waiting.popleft()
            if isinstance(waiting.request, protocol.Trial):
                return self._try_out(waiting.request, waiting.reply)
            return self._answer(waiting.request, waiting.reply)
        if not self._nginx.running and self._clock() >= self._revive_at:
            return self._revive()
        return None

    def _until_revival(self) -> float | None:
        return None if self._nginx.running else max(0.0, self._revive_at - self._clock())

    # activities

    def _answer(self, request: protocol.Load, reply: Reply) -> Activity:
        digest = request.hash
        started = self._clock()
        failure = yield from self._load(request)
        self._under_way = None
        took = round(self._clock() - started, 3)
        if failure:
            self._log.error(
                "refused", hash=digest, stage=failure.stage, output=failure.output, seconds=took
            )
            reply(protocol.failed(digest, failure))
        else:
            self._log.info("loaded", hash=digest, tested=request.test, seconds=took)
            reply(protocol.done(digest))

    def _try_out(self, request: protocol.Trial, reply: Reply) -> Activity:
        try:
            failure = yield from self._nginx.try_out(request.hash)
        except OSError as error:
            failure = Failure(stage="test", output=f"nginx can't be run: {error}")
        self._under_way = None
        answer = protocol.failed(request.hash, failure) if failure else protocol.done(request.hash)
        reply(answer)

    def _load(self, request: protocol.Load) -> Generator[float, None, Failure | None]:
        """test → swap → reload → verified, or back to what ran before."""
        if self._nginx.running and self._serving == request.hash:
            return None
        if request.test:
            failure = yield from self._test(request.hash)
            if failure:
                return failure
        previous = self._bundles.current
        self._bundles.point_to(request.hash)
        if self._nginx.running:
            failure = yield from self._nginx.reload(request.hash)
        else:
            failure = yield from self._start(request.hash)
        if failure:
            yield from self._go_back(previous, failure)
        else:
            self._serve(request.hash)
            self._backoff = _FIRST_BACKOFF
        return failure

    def _test(self, digest: str) -> Generator[float, None, Failure | None]:
        try:
            return (yield from self._nginx.test(digest))
        except OSError as error:
            return Failure(stage="test", output=f"nginx can't be run: {error}")

    def _start(self, digest: str) -> Generator[float, None, Failure | None]:
        try:
            return (yield from self._nginx.start(digest))
        except OSError as error:
            return Failure(stage="start", output=f"nginx can't be run: {error}")

    def _go_back(self, previous: str | None, failure: Failure) -> Activity:
        """Point ``current`` where it was; tell nginx only if it may run the new bundle in part."""
        self._bundles.point_to(previous)
        if not (failure.half_applied and previous and self._nginx.running):
            return
        refused_too = yield from self._nginx.reload(previous)
        if refused_too:
            self._log.error("went back in vain", hash=previous, output=refused_too.output)
            self._serving = None

    def _revive(self) -> Activity:
        """One attempt to have nginx run again, on the first bundle that lets it."""
        candidates = self._candidates()
        if not candidates:  # the first load will come before long
            self._revive_at = self._clock() + _LAST_BACKOFF
            return
        for digest in candidates:
            failure = None
            if digest != self._trusted:
                failure = yield from self._test(digest)
            if not failure:
                self._bundles.point_to(digest)
                failure = yield from self._start(digest)
            if not failure:
                self._log.info("started", hash=digest, restarts=self._restarts)
                self._serve(digest)
                return
            self._log.error("not started", hash=digest, stage=failure.stage, output=failure.output)
            if self._waiting:  # somebody knows better
                break
        self._back_off()

    def _candidates(self) -> list[str]:
        """What ran last, then the newest first."""
        newest_first = self._bundles.newest_first()
        trusted = [digest for digest in newest_first if digest == self._trusted]
        return [*trusted, *(digest for digest in newest_first if digest != self._trusted)]

    def _serve(self, digest: str) -> None:
        self._serving = self._trusted = digest
        self._serving_since = self._clock()

    def _back_off(self) -> None:
        self._revive_at = self._clock() + self._backoff
        self._backoff = min(self._backoff * 2, _LAST_BACKOFF)

    # signals

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            for child in self._children.reap():
                if child is self._nginx.master:
                    self._on_master_exit(child.pid, child.status)
            self._resume_at = 0.0
        elif number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
            self._stop(number)

    def _on_master_exit(self, pid: int, status: int | None) -> None:
        served, self._serving = self._serving, None
        if self._stopping or not served:
            return
        self._restarts += 1
        self._log.error("nginx died", pid=pid, wait_status=status, restarts=self._restarts)
        if self._clock() - self._serving_since > _STABLE_AFTER:
            self._backoff = _FIRST_BACKOFF
        self._back_off()
        if self._under_way and isinstance(self._under_way.request, protocol.Trial):
            self._break_off("nginx died and comes first")

    def _stop(self, number: int) -> None:
        if self._stopping:
            self._log.warning("stopping at once", signal=number)
            self._nginx.signal(signal.SIGTERM)
            return
        self._log.info("stopping", signal=number)
        self._stopping = True
        self._abandon()
        self._nginx.signal(signal.SIGQUIT)

    def _abandon(self) -> None:
        """Give up what is under way and all that waits."""
        reason = "nginx is being stopped"
        self._break_off(reason)
        refused, self._waiting = self._waiting, deque()
        for waiting in refused:
            waiting.reply(protocol.error(reason))

    def _break_off(self, reason: str) -> None:
        if self._activity:
            self._activity.close()
            self._activity = None
        self._nginx.abandon_test()
        waiting, self._under_way = self._under_way, None
        if waiting:
            waiting.reply(protocol.error(reason))
