"""Finds the files to blame for a refusal: trials on the volume, verdicts from the supervisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from consul_nginx.agent import bisect
from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.state import Rejection
from consul_nginx.agent.supervisor_client import SupervisorClient, SupervisorUnreachableError
from consul_nginx.agent.unpack import Store, Trials

MAX_RUNS = 40
MAX_SECONDS = 20.0

GoOn = Callable[[], Awaitable[bool]]


@dataclass(kw_only=True)
class _Found:
    """How far a search came."""

    files: frozenset[str] = frozenset()
    trials: int = 0
    broken_off: str | None = None

    def learn(self, exchanged: frozenset[str], verdict: bisect.Verdict) -> None:
        smaller = not self.files or len(exchanged) < len(self.files)
        if verdict.passes and exchanged and smaller:
            self.files = exchanged


class Blame:
    """Nothing that nginx serves changes by it: a trial is tested, never loaded."""

    def __init__(
        self,
        *,
        store: Store,
        trials: Trials,
        supervisor: SupervisorClient,
        metrics: Metrics,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._trials = trials
        self._supervisor = supervisor
        self._metrics = metrics
        self._log = log
        self._clock = clock

    async def find(
        self, *, rejection: Rejection, refused: str, good: str | None, go_on: GoOn
    ) -> tuple[str, ...]:
        """The smallest set of files found within the bounds, those that nginx named first.

        ``refused`` and ``good`` are hashes of bundles. ``go_on`` is asked before every trial.
        Empty: it is not known, or no file's fault.
        """
        files = self._store.files(refused)
        base = self._store.files(good) if good else {}
        suspects = bisect.changed(refused=files, good=base)
        tested = rejection.stage == "test"
        holders = () if tested else bisect.holders(rejection.message, files)
        if holders:
            return tuple(name for name in holders if name in suspects) or holders
        named = bisect.named(rejection.message)
        found = _Found()
        try:
            steps = bisect.search(suspects=suspects, named=named if tested else None)
            await self._follow(steps, found=found, refused=files, good=base, go_on=go_on)
        except (OSError, SupervisorUnreachableError) as error:
            found.broken_off = str(error)
        finally:
            await asyncio.to_thread(self._trials.clear)
        self._tell(found, suspects=suspects)
        first = [name for name in named if name in found.files]
        return tuple(dict.fromkeys([*first, *sorted(found.files)]))

    async def _follow(
        self,
        steps: bisect.Search,
        *,
        found: _Found,
        refused: Mapping[str, str],
        good: Mapping[str, str],
        go_on: GoOn,
    ) -> None:
        until = self._clock() + MAX_SECONDS
        exchanged = next(steps, None)
        while exchanged is not None:
            if found.trials == MAX_RUNS or self._clock() > until:
                found.broken_off = f"after {found.trials} trials"
                return
            if not await go_on():
                found.broken_off = "there is a newer bundle"
                return
            found.trials += 1
            verdict = await self._try_out(
                bisect.trial(refused=refused, good=good, exchanged=exchanged)
            )
            found.learn(exchanged, verdict)
            try:
                exchanged = steps.send(verdict)
            except StopIteration:
                return

    async def _try_out(self, files: Mapping[str, str]) -> bisect.Verdict:
        digest = await asyncio.to_thread(self._trials.write, files)
        refused = await self._supervisor.test(digest)
        self._metrics.trial()
        if refused is None:
            return bisect.Verdict(passes=True)
        if refused.stage != "test":
            raise SupervisorUnreachableError(refused.output)
        return bisect.Verdict(passes=False, files=bisect.named(refused.output))

    def _tell(self, found: _Found, *, suspects: Sequence[str]) -> None:
        self._metrics.bisected("found" if found.files else "not found")
        self._log.info(
            "looked for the files to blame",
            files=sorted(found.files),
            suspects=len(suspects),
            trials=found.trials,
            broken_off=found.broken_off,
        )
