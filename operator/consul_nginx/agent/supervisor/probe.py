"""``GET /hash`` over nginx's status socket, by hand: an HTTP client costs megabytes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consul_nginx.agent.supervisor.loop import Loop

_REQUEST = b"GET /hash HTTP/1.0\r\nHost: status\r\n\r\n"
_MAX_ANSWER = 4096


def hash_of_answer(answer: bytes) -> str | None:
    """The body of a complete ``200``, else None."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator or head.split(b" ")[1:2] != [b"200"]:
        return None
    return body.decode(errors="replace").strip()


class HashQuery:
    """One question to whichever worker takes the connection; ``answer`` appears when it came."""

    def __init__(self, *, loop: Loop, path: str) -> None:
        self.done = False
        self.answer: str | None = None
        self._loop = loop
        self._received = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            # A unix socket connects at once, or its queue is full or nobody listens.
            self._socket.connect(path)
            self._socket.send(_REQUEST)
        except OSError:
            self._finish(None)
        else:
            loop.watch(self._socket, self._read)

    def close(self) -> None:
        """Don't wait for the answer any more."""
        self._finish(None)

    def _read(self, _mask: int) -> None:
        try:
            data = self._socket.recv(_MAX_ANSWER)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        if not data or len(self._received) > _MAX_ANSWER:
            self._finish(hash_of_answer(self._received))

    def _finish(self, answer: str | None) -> None:
        if not self.done:
            self.done = True
            self.answer = answer
            self._loop.unwatch(self._socket)
            self._socket.close()
