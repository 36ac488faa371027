"""A golden folder in the real nginx, with a server of ours behind every endpoint it names."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from consul_nginx.commands.tls_secrets import content_of_file
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.mapping import Endpoint
from consul_nginx.model.nginx import Configuration, Layer
from consul_nginx.nginx.render import render
from nginx.support import Pod, free_port
from unit.features import Feature, manifests

# The plan refuses loopback addresses: the rendered ones are exchanged for these, which no other
# process that runs these tests has.
_IN_CONSUL = "10.244.0."
HERE = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250}."


class Echo(BaseHTTPRequestHandler):
    """Tells what it was asked, and what it is told to answer."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode(errors="replace")
        backend: HttpBackend = self.server.backend  # type: ignore[attr-defined]
        asked = {
            "backend": backend.number,
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
            "connection": self.client_address[1],
        }
        backend.asked.append(asked)
        backend.reply(self, asked)

    # The base class finds them by these names.
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def say(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with this."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


# As the API server returns them.
Secrets = Mapping[ObjectRef, Mapping[str, Any]]
Reply = Callable[[Echo, dict[str, Any]], None]


def echo(handler: Echo, asked: dict[str, Any]) -> None:
    handler.say(200, json.dumps(asked), {"Content-Type": "application/json"})


def says(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """The same to everybody."""
    return lambda handler, _: handler.say(status, text, headers)


@dataclass(kw_only=True)
class HttpBackend:
    """An instance, the last number of whose address is ``number``."""

    number: int
    reply: Reply = echo
    asked: list[dict[str, Any]] = field(default_factory=list)


class _Lines(socketserver.StreamRequestHandler):
    """Answers each line with the first one of the connection, and its own number."""

    def handle(self) -> None:
        first = b""
        for line in self.rfile:
            first = first or line.strip()
            self.wfile.write(b"%d %s %s\n" % (self.server.number, first, line.strip()))  # type: ignore[attr-defined]


class _Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        text, reply = self.request
        reply.sendto(b"%d %s" % (self.server.number, text), self.client_address)  # type: ignore[attr-defined]


class Http(ThreadingHTTPServer):
    backend: HttpBackend
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *args: object) -> None:
        """A client that has left is no error."""


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = True
    daemon_threads = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a client got; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def asked(self) -> dict[str, Any]:
        """What the backend was asked."""
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(kw_only=True)
class Served:
    """nginx with a feature's configuration."""

    pod: Pod
    ports: Mapping[str, int]
    http: dict[int, HttpBackend] = field(default_factory=dict)

    def ask(
        self,
        path: str = "/",
        *,
        host: str = "shop.example",
        method: str = "GET",
        listener: str = "http",
        body: str | None = None,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; ``x_user`` is the header X-User."""
        connection = http.client.HTTPConnection(address, self.ports[listener], timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body=body, headers={"Host": host, **given})
            found = connection.getresponse()
            text = found.read().decode(errors="replace")
        finally:
            connection.close()
        names = {name.lower(): value for name, value in found.getheaders()}
        return Answer(status=found.status, headers=names, text=text)

    def backend(self, path: str = "/", **how: Any) -> int:
        """Number of the backend that answers."""
        number: int = self.ask(path, **how).asked["backend"]
        return number

    def connect(self, listener: str, *, address: str = "127.0.0.1") -> socket.socket:
        """A connection of a client's."""
        return socket.create_connection((address, self.ports[listener]), timeout=10)

    def log(self) -> str:
        """What nginx wrote so far."""
        return self.pod.log.read_text(errors="replace")


@contextmanager
def served(pod: Pod, name: str, *, own: frozenset[int] = frozenset()) -> Iterator[Served]:
    """Load a feature; endpoints whose numbers are in ``own`` are the test's to serve."""
    [raw] = [raw for raw in manifests(name) if raw["kind"] == "LoadBalancer"]
    ports = {listener["name"]: free_port() for listener in raw["spec"]["listeners"]}
    read = Feature.read(name, ports=ports)
    configuration = read.plan().configuration
    with loaded(pod, configuration, ports=ports, own=own, secrets=read.held) as here:
        yield here


@contextmanager
def loaded(
    pod: Pod,
    configuration: Configuration,
    *,
    ports: Mapping[str, int],
    own: frozenset[int] = frozenset(),
    secrets: Secrets = MappingProxyType({}),
) -> Iterator[Served]:
    """Load a configuration whose listeners have ``ports``, by name."""
    endpoints = {item.id: item.endpoints or () for item in configuration.upstreams}
    wanted: set[tuple[str, Endpoint]] = {
        ("http", endpoint)
        for item in configuration.upstreams
        if item.layer is Layer.HTTP
        for endpoint in item.endpoints or ()
    }
    for listener in configuration.streams:
        kind = "udp" if listener.udp else "tcp"
        wanted |= {
            (kind, endpoint) for item in listener.servers for endpoint in endpoints[item.upstream]
        }
    wanted |= _named_by_templates(configuration)
    with ExitStack() as stack:
        here = Served(pod=pod, ports=ports)
        places = {(kind, _number(item), item.port) for kind, item in wanted}
        for kind, number, port in sorted(places):
            if number in own:
                continue
            place = (f"{HERE}{number}", port)
            if kind == "http":
                here.http[number] = HttpBackend(number=number)
                server: Any = Http(place, Echo)
                server.backend = here.http[number]
            else:
                server = _Udp(place, _Datagrams) if kind == "udp" else _Tcp(place, _Lines)
                server.number = number
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        answer = pod.load(_local(pod, configuration, secrets))
        assert answer["ok"], answer
        yield here


def _named_by_templates(configuration: Configuration) -> set[tuple[str, Endpoint]]:
    """Endpoints in the texts of templates."""
    return {
        (
            "http" if part.layer is Layer.HTTP else "tcp",
            Endpoint(address=f"{_IN_CONSUL}{number}", port=int(port)),
        )
        for part in configuration.own_parts
        for number, port in re.findall(
            rf"server {re.escape(_IN_CONSUL)}(\d+):(\d+)", part.text or ""
        )
    }


def _number(endpoint: Endpoint) -> int:
    return int(endpoint.address.removeprefix(_IN_CONSUL))


def _local(pod: Pod, configuration: Configuration, secrets: Secrets) -> Bundle:
    bundle = render(configuration=configuration, layout=pod.layout)
    folder = Path(pod.layout.secrets)
    folder.mkdir(exist_ok=True)
    for file in bundle.secrets:
        content = content_of_file(file, secrets=secrets, namespace="shop")
        (folder / file.name).write_bytes(content)
    files = {name: text.replace(_IN_CONSUL, HERE) for name, text in bundle.files.items()}
    if os.geteuid() == 0:
        # Else the workers of a nginx started as root have another uid, and can't reach its sockets.
        files["nginx.conf"] = f"user root;\n{files['nginx.conf']}"
    return Bundle.of(files)
