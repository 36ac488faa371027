"""Constant traffic over keep-alive connections that retries nothing and logs every failure.

A client library would send a request again when a kept connection turns out to be closed; exactly
that is what must be seen here, so the few lines of HTTP are our own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Mapping

REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request that did not end in 200; it was sent ``at`` seconds after the start."""

    at: float
    reason: str


@dataclass(kw_only=True)
class Traffic:
    """What was sent and what came back so far; written by one thread, read by others."""

    started: float = field(default_factory=time.monotonic)
    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    by_pod: Counter[str] = field(default_factory=Counter)
    last_answer: dict[str, float] = field(default_factory=dict)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def pods_since(self, at: float) -> set[str]:
        """Pods that answered after ``at`` seconds."""
        return {pod for pod, last in dict(self.last_answer).items() if last > at}

    def took(self, *, pod: str) -> None:
        """Count an answer."""
        self.by_pod[pod] += 1
        self.last_answer[pod] = self.elapsed()

    def failed(self, reason: str, *, sent: float) -> None:
        """Count a failure of what was sent so many seconds after the start."""
        self.failures.append(Failure(at=sent, reason=reason))

    def explain(self) -> str:
        """Failures in words, for an assertion."""
        first = "; ".join(f"{item.at:.3f} s: {item.reason}" for item in self.failures[:5])
        return f"{len(self.failures)} of {self.requests} requests failed: {first}"


@contextmanager
def traffic(
    *,
    address: str,
    host: str,
    path: str = "/features",
    method: str = "GET",
    rate: int = 200,
    connections: int = 10,
    keep: bool = True,
    patience: float = REQUEST_TIMEOUT_S,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Traffic]:
    """Send ``rate`` requests per second to ``address`` (``IP:PORT``) while the context lasts.

    ``keep``: over kept connections; otherwise each has one of its own. ``patience``: a request
    without an answer after so many seconds has failed. ``tls``: encrypted, ``host`` by SNI.
    """
    result, stop = Traffic(), threading.Event()
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{_lines(headers)}"
    request += "" if method == "GET" else "Content-Length: 0\r\n"
    request += "\r\n" if keep else "Connection: close\r\n\r\n"

    async def send_all() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(connections):
                group.create_task(
                    _send(
                        opening=partial(_Connection.open, address, tls=tls, name=host),
                        request=request.encode(),
                        patience=patience,
                        interval=connections / rate,
                        delay=number / rate,
                        result=result,
                        stop=stop,
                    )
                )

    thread = threading.Thread(target=lambda: asyncio.run(send_all()), name="traffic")
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join()


async def _send(
    *,
    opening: Callable[[], Awaitable[_Connection]],
    request: bytes,
    patience: float,
    interval: float,
    delay: float,
    result: Traffic,
    stop: threading.Event,
) -> None:
    """One connection: a request per interval, on schedule however long an answer takes."""
    due = time.monotonic() + delay
    connection: _Connection | None = None
    while not stop.is_set():
        await asyncio.sleep(max(due - time.monotonic(), 0))
        due += interval
        result.requests += 1
        sent = result.elapsed()
        try:
            async with asyncio.timeout(patience):
                connection = connection or await opening()
                status, body, keep = await connection.ask(request)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            result.failed(f"{type(error).__name__}: {error}", sent=sent)
            connection = _closed(connection)
            continue
        if status == 200:
            result.took(pod=json.loads(body).get("pod", ""))
        else:
            result.failed(f"HTTP {status}: {body[:100]!r}", sent=sent)
        if not keep:
            connection = _closed(connection)
    _closed(connection)


def _closed(connection: _Connection | None) -> None:
    if connection is not None:
        connection.writer.close()


@dataclass(kw_only=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(
        cls, address: str, *, tls: ssl.SSLContext | None = None, name: str = ""
    ) -> _Connection:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=tls, server_hostname=name if tls else None
        )
        return cls(reader=reader, writer=writer)

    async def ask(self, request: bytes) -> tuple[int, bytes, bool]:
        """Status, body, and whether the server keeps the connection."""
        self.writer.write(request)
        await self.writer.drain()
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(_header(line) for line in lines[1:] if line)
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers["content-length"]))
        keep = headers.get("connection", "keep-alive").lower() != "close"
        return int(lines[0].split()[1]), body, keep

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return body


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def ask(
    *,
    address: str,
    host: str,
    path: str = "/",
    method: str = "GET",
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, dict[str, Any] | str]:
    """One request on a fresh connection: status and body, parsed when it is JSON."""
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    request += _lines(headers)
    request += "Content-Length: 0\r\n\r\n"

    async def send() -> tuple[int, bytes]:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            connection = await _Connection.open(address, tls=tls, name=host)
            try:
                status, body, _ = await connection.ask(request.encode())
            finally:
                connection.writer.close()
        return status, body

    status, body = asyncio.run(send())
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()
