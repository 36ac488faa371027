"""Who answers, and when: on fresh connections, on idle kept ones, and in a TCP session.

Times are seconds of ``time.monotonic``. The answer's time is when it was read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from bench.figures import Failure

POLL_EVERY_S = 0.002
ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``port`` names the instance that answered."""

    at: float
    port: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a product's nginx is asked: IP addresses with ports, and the host name over HTTP."""

    http: str
    tcp: str
    host: str

    @property
    def request(self) -> bytes:
        """A request whose connection is kept."""
        return f"GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


@dataclass(kw_only=True)
class Polled:
    """What the poller has seen so far."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def first(self, port: int) -> float | None:
        """When an instance answered first."""
        return next((answer.at for answer in self.answers if answer.port == port), None)

    def last(self, port: int) -> float | None:
        """When an instance answered last."""
        return next((answer.at for answer in reversed(self.answers) if answer.port == port), None)


class _Poll(asyncio.Protocol):
    """One fresh connection with one request."""

    def __init__(self, *, request: bytes, seen: Polled) -> None:
        self._request = request
        self._seen = seen
        self._received = b""
        self._answered = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or not body.endswith(b"\n"):
            return
        self._answered = True
        if head.startswith(b"HTTP/1.1 200 "):
            self._seen.answers.append(Answer(at=time.monotonic(), port=int(body)))
        else:
            self._seen.failures.append(_failure("poll", self._received[:60]))
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered:
            said = f"closed after {self._received[:60]!r}: {exc}"
            self._seen.failures.append(_failure("poll", said))


@asynccontextmanager
async def polling(target: Target) -> AsyncIterator[Polled]:
    """Ask on a fresh connection every two milliseconds while the context lasts."""
    seen = Polled()
    loop = asyncio.get_running_loop()
    host, _, port = target.http.rpartition(":")
    request = f"GET / HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n\r\n".encode()

    async def ask() -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await loop.create_connection(
                    partial(_Poll, request=request, seen=seen), host, int(port)
                )
        except (OSError, TimeoutError) as error:
            seen.failures.append(_failure("poll", error))

    async def ask_again_and_again() -> None:
        due = loop.time()
        async with asyncio.TaskGroup() as asking:
            while not stop.is_set():
                asking.create_task(ask())
                due = max(due + POLL_EVERY_S, loop.time() - POLL_EVERY_S)
                await asyncio.sleep(due - loop.time())

    stop = asyncio.Event()
    task = asyncio.create_task(ask_again_and_again())
    try:
        yield seen
    finally:
        stop.set()
        await task


@dataclass(frozen=True, kw_only=True)
class IdleOutcome:
    """What idle kept connections saw; ``last_old`` is None when none reached the old instance."""

    last_old: float | None
    closed: int
    failures: tuple[Failure, ...]


class IdleConnections:
    """Connections that have answered once and wait; each is used once more, one after the other."""

    def __init__(self, *, target: Target) -> None:
        self._target = target
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, count: int) -> None:
        """Open them, and ask once on each."""
        host, _, port = self._target.http.rpartition(":")
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            self._open.append((reader, writer))
            await _ask(reader, writer, request=self._target.request)

    async def use(self, *, old: int, every: float) -> IdleOutcome:
        """Ask once on one after the other; one that nginx has closed meanwhile is no failure."""
        last_old, closed, failures = None, 0, []
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, (reader, writer) in enumerate(self._open):
            await asyncio.sleep(begun + number * every - loop.time())
            if reader.at_eof():
                closed += 1
            else:
                try:
                    answer = await _ask(reader, writer, request=self._target.request)
                except (OSError, EOFError, TimeoutError, ValueError) as error:
                    failures.append(_failure("idle connection", error))
                else:
                    if answer.port == old:
                        last_old = answer.at
            writer.close()
        return IdleOutcome(last_old=last_old, closed=closed, failures=tuple(failures))


def _failure(what: str, why: object) -> Failure:
    name = f"{type(why).__name__}: " if isinstance(why, Exception) else ""
    return Failure(at=time.time(), reason=f"{what}: {name}{why}")


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, request: bytes
) -> Answer:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(head[:60])
        body = await reader.readuntil(b"\n")
    return Answer(at=time.monotonic(), port=int(body))


class TcpSession:
    """One connection that goes on asking until nginx cuts it."""

    def __init__(self, *, target: Target) -> None:
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect, and wait for the first answer."""
        host, _, port = self._target.tcp.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        if await self._ask() is None:
            raise ConnectionError("the session was closed at once")

    async def until_cut(self, *, every: float, at_most: float) -> float | None:
        """Go on asking; returns when the last answer came, None if it came to the end of time."""
        loop = asyncio.get_running_loop()
        deadline, last = loop.time() + at_most, loop.time()
        while loop.time() < deadline:
            answered = await self._ask()
            if answered is None:
                return last
            last = answered
            await asyncio.sleep(every)
        if self._writer is not None:
            self._writer.close()
        return None

    async def _ask(self) -> float | None:
        assert self._reader is not None
        assert self._writer is not None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                self._writer.write(b"who\n")
                line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if line.endswith(b"\n"):
            return time.monotonic()
        self._writer.close()
        return None
