"""An address that somebody else than the operator's owner names as their Consul.

It answers as Consul does, blocking queries included, and writes down what it is asked.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_S = 20.0


@dataclass(kw_only=True)
class StandIn:
    """What it says, and what it was asked; written by one thread, read by others."""

    address: str
    tokens: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _instances: list[str] = field(default_factory=list)
    _index: int = 1
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def has(self, *instances: str) -> None:
        """Every service has these instances, ``IP:PORT``, from now on."""
        with self._changed:
            self._instances = list(instances)
            self._index += 1
            self._changed.notify_all()

    def answer(self, *, after: int) -> tuple[int, list[dict[str, Any]]]:
        """Index and instances, once the index is higher than ``after`` or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._index > after, timeout=BLOCK_S)
            return self._index, [_entry(instance) for instance in self._instances]


def _entry(instance: str) -> dict[str, Any]:
    host, _, port = instance.rpartition(":")
    return {
        "Node": {"Node": "stand-in", "Address": host},
        "Service": {"ID": instance, "Address": host, "Port": int(port)},
        "Checks": [],
    }


@contextmanager
def stand_in(host: str) -> Iterator[StandIn]:
    """Listen on a free port of an address of this machine while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            found.paths.append(asked.path)
            found.tokens.append(self.headers.get("X-Consul-Token"))
            index, entries = found.answer(after=int(parse_qs(asked.query).get("index", ["0"])[0]))
            data = json.dumps(entries).encode()
            with suppress(ConnectionError):  # who waited may have gone
                self.send_response(200)
                self.send_header("X-Consul-Index", str(index))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    found = StandIn(address=f"http://{host}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
