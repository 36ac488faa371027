"""One watch: a blocking query that is asked for ever, by Consul's three rules.

1. If the index goes back, start again from 0.
2. An index is at least 1 (``client.py``).
3. A wake-up is no proof of a change: content is compared before anything is published.

An empty answer is suspicious: during elections and agent restarts Consul answers 200 with an empty
list (consul-template issues 1131, 1098). One that is news counts only once a ``consistent`` read,
which needs a leader, was made; so does one that loses more than half of the healthy instances at
once. Without a leader, what was known before is held, and the answer is told as a doubt: for how
long it is none the policy of each mapping says.

So is an answer that is older than what was seen: a leader that has just started answers from its
log's past, with instances of an hour ago, until it has read all of it. The first answer can't be
compared with anything, and is asked for consistently.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from consul_nginx.backoff import Backoff
from consul_nginx.consul.api import BLOCKING_TIMEOUT_S
from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulError, ConsulRefused, ConsulUnavailable
from consul_nginx.model.consul import UNKNOWN, Doubt, History, Instance, Observation, ServiceQuery
from consul_nginx.model.history import advance, is_bearable, is_passing
from consul_nginx.model.nearness import Places, in_order, placed
from consul_nginx.rate import TokenBucket

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 10.0
REFUSED_RETRY_S = 30.0
# A service whose checks flap must not make us ask without pause.
QUESTIONS_PER_S = 10.0
QUESTIONS_AT_ONCE = 5


def is_suspicious(*, before: tuple[Instance, ...], now: tuple[Instance, ...]) -> bool:
    """Whether an answer is worth a second question: nothing is there, or most of it is gone."""
    if not now:
        return before != ()
    return any(
        2 * sum(counts(instance.health) for instance in now)
        < sum(counts(instance.health) for instance in before)
        for counts in (is_passing, is_bearable)
    )


class _UnconfirmedError(ConsulUnavailable):
    """A suspicious answer that Consul did not confirm, and why."""

    def __init__(self, *, answer: Answer, cause: ConsulError) -> None:
        super().__init__(f"it tells of fewer than half, and can't confirm that: {cause}")
        self.instances = answer.instances


class Reader(Protocol):
    """The part of the client that a watch needs."""

    async def service(
        self, *, query: ServiceQuery, index: int = 0, consistent: bool = False
    ) -> Answer:
        """Ask Consul; see ``ConsulClient.service``."""


@dataclass(kw_only=True)
class Watch:
    """Keeps one query's observation current; ``publish`` is called when it changed.

    ``now`` tells seconds since the epoch, for people and for what is remembered.
    """

    query: ServiceQuery
    reader: Reader
    publish: Callable[[ServiceQuery, Observation], None]
    failed: Callable[[ServiceQuery, ConsulError], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time
    rate: TokenBucket = field(
        default_factory=lambda: TokenBucket(per_second=QUESTIONS_PER_S, burst=QUESTIONS_AT_ONCE)
    )
    clock: Callable[[], float] = time.monotonic
    _observation: Observation = UNKNOWN
    _index: int = 0
    _believed: int = 0  # index of the latest answer that was
    _places: Places = field(default_factory=dict)
    _answered_at: float = field(init=False)
    _backoff: Backoff = field(
        default_factory=lambda: Backoff(first=FIRST_RETRY_S, last=LONGEST_RETRY_S)
    )

    def __post_init__(self) -> None:
        self._answered_at = self.clock()

    @property
    def age(self) -> float:
        """Seconds since Consul last answered; before it ever did, since the watch began."""
        return self.clock() - self._answered_at

    async def run(self) -> None:
        """Never returns; ends by cancellation."""
        while True:
            await self.sleep(await self.look(blocking=True))

    async def look(self, *, blocking: bool) -> float:
        """Ask once, and observe the answer; returns how long to wait before the next question.

        ``blocking``: Consul answers when what was seen last has changed.
        """
        try:
            answer = await self._ask(index=self._index if blocking else 0)
        except ConsulError as error:
            self._failed(error)
            return self._delay(error)
        self._answered_at = self.clock()
        self._backoff.reset()
        self._index = 0 if answer.index < self._index else answer.index
        self._believed = answer.index
        instances = self._in_order(answer)
        self._observe(
            Observation(
                instances=instances,
                history=self._history_with(instances),
                nearest_first=answer.nearest_first,
            )
        )
        return self.rate.take()

    def _in_order(self, answer: Answer) -> tuple[Instance, ...]:
        """Instances of an answer; by their distance, they keep their order while that is noise."""
        if not answer.nearest_first:
            self._places = {}
            return answer.instances
        self._places = placed(before=self._places, now=answer.instances, at=self.now())
        return in_order(answer.instances, self._places)

    async def _ask(self, *, index: int) -> Answer:
        """One question, and a second one when the answer is not to be believed as it is."""
        known = self._observation.instances
        if known is None:
            return await self._read(consistent=True)
        answer = await self._read(index=index)
        if is_suspicious(before=known, now=answer.instances):
            try:
                return await self._read(consistent=True)
            except ConsulError as error:
                raise _UnconfirmedError(answer=answer, cause=error) from error
        if answer.index < self._believed:
            return await self._read(consistent=True)
        return answer

    async def _read(self, *, index: int = 0, consistent: bool = False) -> Answer:
        """A watchdog above the transport's own time-out guards against a hang."""
        try:
            async with asyncio.timeout(BLOCKING_TIMEOUT_S + 5):
                return await self.reader.service(
                    query=self.query, index=index, consistent=consistent
                )
        except TimeoutError as error:
            raise ConsulUnavailable("a query did not return in time") from error

    def _history_with(self, now: tuple[Instance, ...], *, at: float | None = None) -> History:
        """History once ``now`` is believed; at first there is nothing to compare with."""
        if self._observation.instances is None:
            return {}
        return advance(
            before=self._observation.instances,
            history=self._observation.history,
            now=now,
            at=self.now() if at is None else at,
        )

    def _failed(self, error: ConsulError) -> None:
        self._index = 0
        self.failed(self.query, error)
        self._observe(
            replace(
                self._observation,
                error=str(error),
                refused=isinstance(error, ConsulRefused),
                failing_since=self._observation.failing_since or self.now(),
                doubt=self._doubt(error) if isinstance(error, _UnconfirmedError) else None,
            )
        )

    def _doubt(self, error: _UnconfirmedError) -> Doubt:
        before = self._observation.doubt
        since = before.since if before is not None else self.now()
        return Doubt(
            since=since,
            instances=error.instances,
            history=self._history_with(error.instances, at=since),
        )

    def _observe(self, observation: Observation) -> None:
        if observation != self._observation:
            self._observation = observation
            self.publish(self.query, observation)

    def _delay(self, error: ConsulError) -> float:
        if isinstance(error, ConsulRefused):
            return REFUSED_RETRY_S
        return self._backoff.next()
