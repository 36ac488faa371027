"""What Consul answers to users' own templates: one shared watch per distinct question.

Watches keep Consul's three rules, and mistrust emptiness and answers out of the past, as those of
instances do (``watch.py``). As many of them block as there are connections set aside; the others
ask every few seconds, and so do questions for which Consul has no blocking query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Protocol

from consul_nginx.backoff import Backoff
from consul_nginx.consul.api import BLOCKING_TIMEOUT_S
from consul_nginx.consul.errors import ConsulError, ConsulRefused, ConsulUnavailable
from consul_nginx.metrics import CONSUL_WATCH_ERRORS
from consul_nginx.model.facts import (
    UNKNOWN_FACT,
    DatacentersQuery,
    Fact,
    Facts,
    Question,
    Value,
    order,
)
from consul_nginx.rate import TokenBucket
from consul_nginx.tasks import forever

_log = logging.getLogger(__name__)

# Of the 200 connections that Consul allows a client; the catalog has most of them.
MAX_BLOCKING = 20
ASKING_AT_ONCE = 8
POLL_S = 5.0
POLL_DATACENTERS_S = 30.0
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 10.0
REFUSED_RETRY_S = 30.0
QUESTIONS_PER_S = 10.0
QUESTIONS_AT_ONCE = 5


class FactReader(Protocol):
    """The part of the client that is needed here."""

    async def fact(
        self, *, question: Question, index: int = 0, consistent: bool = False
    ) -> tuple[int, Value]:
        """Ask Consul; see ``ConsulClient.fact``."""


class FactWatches:
    """Owns the watches. ``changed`` is called with a question whose fact is new."""

    def __init__(
        self,
        *,
        reader: FactReader,
        changed: Callable[[Question], None],
        max_blocking: int = MAX_BLOCKING,
        poll: float = POLL_S,
    ) -> None:
        self._reader = reader
        self._changed = changed
        self._blocking = asyncio.Semaphore(max_blocking)
        self._asking = asyncio.Semaphore(ASKING_AT_ONCE)
        self._poll = poll
        self._facts: dict[Question, Fact] = {}
        self._heard: dict[Question, asyncio.Event] = {}
        self._tasks: dict[Question, asyncio.Task[None]] = {}

    def facts(self) -> Facts:
        """Everything known at this moment; later answers don't change it."""
        return MappingProxyType(dict(self._facts))

    @property
    def watched(self) -> int:
        """Number of distinct questions."""
        return len(self._tasks)

    @property
    def failing(self) -> int:
        """Number of questions whose latest attempt failed."""
        return sum(fact.error is not None for fact in self._facts.values())

    def watch_only(self, questions: Iterable[Question]) -> None:
        """Start what is missing, stop and forget what nobody asks any more."""
        wanted = set(questions)
        for question in self._tasks.keys() - wanted:
            self._tasks.pop(question).cancel()
            self._facts.pop(question, None)
            self._heard.pop(question)
        for question in sorted(wanted - self._tasks.keys(), key=order):
            self._heard[question] = asyncio.Event()
            work = forever(partial(self._watch, question), name="fact", what=str(question))
            self._tasks[question] = asyncio.create_task(work, name=f"watch {question}")

    async def heard(self, questions: Iterable[Question], *, patience: float) -> None:
        """Wait until each question was answered or has failed, at most ``patience`` seconds."""
        events = [self._heard[one].wait() for one in questions if one in self._heard]
        if events:
            try:
                async with asyncio.timeout(patience):
                    await asyncio.gather(*events)
            except TimeoutError:
                _log.warning("%d questions of templates have no answer yet", len(events))

    async def close(self) -> None:
        """Stop all watches."""
        tasks = list(self._tasks.values())
        self.watch_only(())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, question: Question) -> None:
        """Never returns; ends by cancellation."""
        watch = _Watch(question=question, reader=self._reader)
        while True:
            if isinstance(question, DatacentersQuery) or self._blocking.locked():
                async with self._asking:
                    pause = await self._look(watch, blocking=False)
                rest = POLL_DATACENTERS_S if isinstance(question, DatacentersQuery) else self._poll
                await asyncio.sleep(max(pause, rest))
                continue
            async with self._blocking:
                while True:
                    pause = await self._look(watch, blocking=True)
                    await asyncio.sleep(pause)

    async def _look(self, watch: _Watch, *, blocking: bool) -> float:
        """Ask once and tell what is new; returns how long to wait before the next question."""
        pause = await watch.look(blocking=blocking)
        question, before = watch.question, self._facts.get(watch.question)
        if watch.fact != before:
            self._facts[question] = watch.fact
            if watch.fact.error is not None and (before is None or before.error is None):
                _log.warning("Consul does not answer for %s: %s", question, watch.fact.error)
            self._changed(question)
        self._heard[question].set()
        return pause


@dataclass(kw_only=True)
class _Watch:
    """Keeps one fact current."""

    question: Question
    reader: FactReader
    fact: Fact = UNKNOWN_FACT
    _index: int = 0
    _believed: int = 0
    _backoff: Backoff = field(
        default_factory=lambda: Backoff(first=FIRST_RETRY_S, last=LONGEST_RETRY_S)
    )
    _rate: TokenBucket = field(
        default_factory=lambda: TokenBucket(per_second=QUESTIONS_PER_S, burst=QUESTIONS_AT_ONCE)
    )

    async def look(self, *, blocking: bool) -> float:
        """Ask once; returns how long to wait before the next question."""
        try:
            index, value = await self._ask(index=self._index if blocking else 0)
        except ConsulError as error:
            CONSUL_WATCH_ERRORS.labels(kind=error.kind).inc()
            self._index = 0
            self.fact = Fact(value=self.fact.value, error=str(error))
            refused = isinstance(error, ConsulRefused)
            return REFUSED_RETRY_S if refused else self._backoff.next()
        self._backoff.reset()
        self._index = 0 if index < self._index else index
        self._believed = index
        self.fact = Fact(value=value)
        return self._rate.take()

    async def _ask(self, *, index: int) -> tuple[int, Value]:
        """One question; a watchdog above the transport's own time-out guards against a hang."""
        try:
            async with asyncio.timeout(BLOCKING_TIMEOUT_S + 5):
                known = self.fact.value
                if known is None:
                    return await self.reader.fact(question=self.question, consistent=True)
                found, value = await self.reader.fact(question=self.question, index=index)
                if found < self._believed or 2 * len(value) < len(known):
                    return await self.reader.fact(question=self.question, consistent=True)
        except TimeoutError as error:
            raise ConsulUnavailable("a query did not return in time") from error
        return found, value
