"""``supervisor.sock``: one JSON line in, one JSON line out, several per connection."""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from consul_nginx.agent.supervisor import protocol

if TYPE_CHECKING:
    from consul_nginx.agent.supervisor.loop import Loop

Reply = Callable[[dict[str, object]], None]
Handler = Callable[[protocol.Load | protocol.Trial | protocol.Status, Reply], None]

_MAX_LINE = 64 * 1024
_MAX_CONNECTIONS = 32


class Server:
    """Accepts connections and hands their requests to ``handle``."""

    def __init__(self, *, loop: Loop, path: str, handle: Handler) -> None:
        self._loop = loop
        self._handle = handle
        self._path = path
        self._connections: set[Connection] = set()
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o660)
        self._listener.listen(16)
        self._listener.setblocking(False)
        loop.watch(self._listener, self._accept)

    def close(self) -> None:
        """Take no more connections and leave no socket behind."""
        self._loop.unwatch(self._listener)
        self._listener.close()
        with suppress(OSError):
            os.unlink(self._path)

    def _accept(self, _mask: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= _MAX_CONNECTIONS:
            client.close()
            return
        self._connections.add(
            Connection(
                loop=self._loop,
                client=client,
                handle=self._handle,
                closed=self._connections.discard,
            )
        )


class Connection:
    """One client. Its requests are taken one after the other: answers keep the requests' order."""

    def __init__(
        self,
        *,
        loop: Loop,
        client: socket.socket,
        handle: Handler,
        closed: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._socket = client
        self._handle = handle
        self._closed = closed
        self._received = b""
        self._to_send = b""
        self._answering = False
        self._taking = False
        client.setblocking(False)
        loop.watch(client, self._ready)

    def _ready(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._send()
            if mask & selectors.EVENT_READ:
                self._receive()
        except BlockingIOError:
            pass
        except OSError:
            self._close()

    def _receive(self) -> None:
        data = self._socket.recv(_MAX_LINE)
        self._received += data
        if not data or len(self._received) > _MAX_LINE:
            self._close()
            return
        self._next()

    def _next(self) -> None:
        if self._taking:  # an answer given at once: the loop below goes on by itself
            return
        self._taking = True
        try:
            while b"\n" in self._received and not self._answering and not self._to_send:
                line, _, self._received = self._received.partition(b"\n")
                self._take(line)
        finally:
            self._taking = False

    def _take(self, line: bytes) -> None:
        self._answering = True
        try:
            request = protocol.parse(line)
        except protocol.RequestError as error:
            self._reply(protocol.error(str(error)))
        else:
            self._handle(request, self._reply)

    def _reply(self, answer: dict[str, object]) -> None:
        self._answering = False
        if self._socket.fileno() < 0:  # the client didn't wait
            return
        self._to_send += json.dumps(answer).encode() + b"\n"
        self._ready(selectors.EVENT_WRITE)

    def _send(self) -> None:
        with suppress(BlockingIOError):
            sent = self._socket.send(self._to_send)
            self._to_send = self._to_send[sent:]
        waiting = selectors.EVENT_WRITE if self._to_send else 0
        self._loop.watch(self._socket, self._ready, mask=selectors.EVENT_READ | waiting)
        self._next()

    def _close(self) -> None:
        self._loop.unwatch(self._socket)
        self._socket.close()
        self._closed(self)
