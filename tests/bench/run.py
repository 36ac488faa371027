"""Changes in Consul, one after the other, under load; the products take turns."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from bench.changes import Change
from bench.consul import Consul
from bench.figures import Failure, Measured, Sample
from bench.observers import (
    IdleConnections,
    IdleOutcome,
    Polled,
    Target,
    TcpSession,
    polling,
)
from bench.products import Product
from cluster.harness.settings import Settings
from cluster.support.tcp_traffic import tcp_traffic
from cluster.support.traffic import Traffic
from cluster.support.vegeta import Load, load

REQUESTS_PER_S = 500
KEPT_CONNECTIONS = 20
CONNECTIONS_PER_S = 100

# Long enough that an old worker's last answer on a fresh connection is not missed.
_QUIET_S = 0.15
_SETTLED_S = 0.2
_PATIENCE_S = 15.0
_IDLE_EVERY = 10  # changes
_IDLE_CONNECTIONS = 30
_IDLE_STEP_S = 0.1
_SESSION_EVERY = 100  # changes
_SESSION_STEP_S = 0.2
_SESSION_AT_MOST_S = 60.0


@dataclass(kw_only=True)
class Subject:
    """A product under test: what is still to come for it, and what was seen."""

    product: Product
    changes: Iterator[Change]
    measured: Measured = field(default_factory=Measured)
    sessions: list[asyncio.Task[None]] = field(default_factory=list)
    made: int = 0


async def run_block(*, subject: Subject, consul: Consul, settings: Settings, count: int) -> None:
    """``count`` changes for one product, while it alone is under load."""
    async with _under_load(subject=subject, settings=settings) as tcp:
        idle: list[tuple[int, float, asyncio.Task[IdleOutcome]]] = []
        for _ in range(count):
            await _change(subject=subject, consul=consul, tcp=tcp, idle=idle)
            await asyncio.sleep(random.uniform(0, 0.05))
        for index, sent, task in idle:
            _take_idle(measured=subject.measured, index=index, sent=sent, outcome=await task)


async def finish(subject: Subject) -> None:
    """Wait for the TCP sessions that are still open."""
    await asyncio.gather(*subject.sessions)


@asynccontextmanager
async def _under_load(*, subject: Subject, settings: Settings) -> AsyncIterator[Traffic]:
    target, measured = subject.product.target, subject.measured
    with ExitStack() as stack:
        http: Load = await asyncio.to_thread(
            stack.enter_context,
            load(
                settings=settings,
                addresses=[target.http],
                host=target.host,
                path="/",
                rate=REQUESTS_PER_S,
                connections=KEPT_CONNECTIONS,
            ),
        )
        tcp = stack.enter_context(tcp_traffic(addresses=[target.tcp], rate=CONNECTIONS_PER_S))
        yield tcp
        await asyncio.to_thread(stack.close)
    measured.requests += http.requests
    measured.connections += tcp.requests
    measured.failures += [
        Failure(at=http.started + item.at, reason=f"HTTP: {item.reason}") for item in http.failures
    ]
    begun = time.time() - tcp.elapsed()
    measured.failures += [
        Failure(at=begun + item.at, reason=f"TCP: {item.reason}") for item in tcp.failures
    ]


async def _change(
    *,
    subject: Subject,
    consul: Consul,
    tcp: Traffic,
    idle: list[tuple[int, float, asyncio.Task[IdleOutcome]]],
) -> None:
    target, measured = subject.product.target, subject.measured
    change = next(subject.changes)
    kept = await _idle_connections(target=target, number=subject.made)
    session = await _session(target=target, number=subject.made)
    subject.made += 1
    async with polling(target) as seen:
        await _until(lambda: len(seen.answers) > 2, what="nginx answers")
        sent = time.monotonic()
        await consul.write(change.operations)
        written = time.monotonic() - sent
        await _until(
            lambda: seen.first(change.new) is not None,
            what=f"{subject.product.name}: an answer by {change.new} after {change.kind.value}",
        )
        if kept is not None:
            using = asyncio.create_task(kept.use(old=change.old, every=_IDLE_STEP_S))
            idle.append((len(measured.samples), sent, using))
        if session is not None:
            follow = _follow(session=session, sent=sent, measured=measured)
            subject.sessions.append(asyncio.create_task(follow))
        await _until(lambda: _is_settled(seen=seen, change=change), what="old workers are gone")
    measured.samples.append(_sample(change, seen=seen, tcp=tcp, sent=sent, written=written))
    measured.requests += len(seen.answers) + len(seen.failures)
    measured.failures += seen.failures


def _is_settled(*, seen: Polled, change: Change) -> bool:
    now, first, last = time.monotonic(), seen.first(change.new), seen.last(change.old)
    return (
        first is not None and now - first > _SETTLED_S and (last is None or now - last > _QUIET_S)
    )


def _sample(change: Change, *, seen: Polled, tcp: Traffic, sent: float, written: float) -> Sample:
    known = {change.old, change.new}
    if strange := [answer.port for answer in seen.answers if answer.port not in known]:
        raise AssertionError(f"{strange[0]} answered, which is neither old nor new: {change}")
    first, last = seen.first(change.new), seen.last(change.old)
    assert first is not None
    assert last is not None
    last_tcp = tcp.last_answer.get(str(change.old))
    return Sample(
        at=time.time() - (time.monotonic() - sent),
        kind=change.kind.value,
        written=written,
        first_new=first - sent,
        last_old=max(last - sent, 0.0),
        last_old_tcp=None if last_tcp is None else max(tcp.started + last_tcp - sent, 0.0),
    )


async def _idle_connections(*, target: Target, number: int) -> IdleConnections | None:
    if number % _IDLE_EVERY:
        return None
    kept = IdleConnections(target=target)
    await kept.open(_IDLE_CONNECTIONS)
    return kept


def _take_idle(*, measured: Measured, index: int, sent: float, outcome: IdleOutcome) -> None:
    measured.failures += outcome.failures
    if outcome.last_old is not None:
        sample = replace(measured.samples[index], last_old_idle=outcome.last_old - sent)
        measured.samples[index] = sample


async def _session(*, target: Target, number: int) -> TcpSession | None:
    if number % _SESSION_EVERY:
        return None
    session = TcpSession(target=target)
    await session.open()
    return session


async def _follow(*, session: TcpSession, sent: float, measured: Measured) -> None:
    cut = await session.until_cut(every=_SESSION_STEP_S, at_most=_SESSION_AT_MOST_S)
    if cut is None:
        raise AssertionError(f"a TCP session was not cut within {_SESSION_AT_MOST_S:.0f} s")
    measured.sessions.append(cut - sent)


async def _until(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(0.005)


def turns(subjects: Sequence[Subject], *, blocks: int) -> Iterator[Subject]:
    """ABBAABBA…: what gets slower or faster in the course of a run meets both alike."""
    for number in range(blocks):
        yield from subjects if number % 2 == 0 else tuple(reversed(subjects))
