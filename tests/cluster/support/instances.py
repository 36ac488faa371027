"""Instances that stand far more traffic than a test sends, and say who they are.

One process with a port for each, whose number is its name. It speaks HTTP with kept connections,
and answers the line ``who`` on the same port, for TCP.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cluster.harness.report import HarnessError
from cluster.harness.settings import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD_END = b"\r\n\r\n"
_LISTENING = "listening\n"


@contextmanager
def instances(*, address: str, ports: range) -> Iterator[None]:
    """Have a process listen on all ``ports`` of an address of this machine."""
    command = [sys.executable, "-m", __name__, address, str(ports.start), str(ports.stop)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != _LISTENING:
            raise HarnessError(f"nobody can listen on {address}, ports {ports}")
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class Instance(asyncio.Protocol):
    """One connection to one instance."""

    def __init__(self, port: int) -> None:
        line = f"{port}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(line)}"
        self._line = line
        self._answer = head.encode() + _HEAD_END + line
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request; none of them has a body."""
        assert self._transport is not None
        self._received += data
        if self._received == b"who\n":
            self._received = b""
            self._transport.write(self._line)
            return
        *requests, self._received = self._received.split(_HEAD_END)
        for _ in requests:
            self._transport.write(self._answer)


async def serve(*, address: str, ports: range) -> None:
    """Listen on all ports until standard input ends."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(partial(Instance, port), address, port, backlog=1024)
    print(_LISTENING, end="", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    start, stop = map(int, sys.argv[2:4])
    asyncio.run(serve(address=sys.argv[1], ports=range(start, stop)))
