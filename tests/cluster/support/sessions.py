"""Sessions with test-server over TCP, and datagrams over UDP."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 5.0


class Session:
    """One open TCP session."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def say(self, text: str) -> dict[str, Any]:
        """Send a line; returns the answer, raises ``EOFError`` when the session is over."""
        self._connection.sendall(text.encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise EOFError("the session is over")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def session(address: str) -> Iterator[Session]:
    """Open a session with ``IP:PORT``."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        yield Session(connection)


def datagram(address: str, text: str) -> dict[str, Any]:
    """Send one datagram from a new port, and wait for the one that comes back."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(TIMEOUT_S)
        sender.sendto(text.encode(), (host, int(port)))
        answer: dict[str, Any] = json.loads(sender.recv(65536))
        return answer
