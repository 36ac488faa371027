"""Hostile values that are accepted, in the real nginx: it loads them, and takes them literally."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.consul import Instance, Observation
from consul_nginx.nginx.render import render
from nginx.support import Pod
from unit.factories import instance, load_balancer, mapping, planned

# The plan refuses loopback addresses: the rendered one is exchanged for this.
PLANNED, BACKEND = "10.244.1.2:8080", "127.0.0.2"


class Backend(BaseHTTPRequestHandler):
    """Sends back the headers that it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[str]:
    server = ThreadingHTTPServer((BACKEND, 0), Backend)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{BACKEND}:{server.server_port}"
    server.shutdown()
    server.server_close()


Load = Callable[..., None]
Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def load(pod: Pod, port: int, backend: str) -> Load:
    """Plan, render and load one mapping on one listener; it must be accepted by both."""

    def loaded(
        listener: dict[str, Any] | None = None,
        instances: tuple[Instance, ...] = (instance(),),
        **spec: Any,
    ) -> None:
        item = mapping(**spec)
        plan = planned(
            load_balancer=load_balancer(
                listeners=[{"name": "http", "port": port, **(listener or {})}]
            ),
            mappings=[item],
            snapshot={query: Observation(instances=instances) for query in item.queries},
        )
        bundle = render(configuration=plan.configuration, layout=pod.layout)
        files = {name: text.replace(PLANNED, backend) for name, text in bundle.files.items()}
        if os.geteuid() == 0:
            # Else the workers of a nginx started as root have another uid, and can't reach its
            # sockets.
            files["nginx.conf"] = f"user root;\n{files['nginx.conf']}"
        answer = pod.load(Bundle.of(files))
        assert answer["ok"], answer

    return loaded


@pytest.fixture
def ask(port: int) -> Ask:
    """Head and body of an answer, byte for byte."""

    def asked(path: str = "/", *headers: str) -> tuple[str, str]:
        lines = [f"GET {path} HTTP/1.1", "Host: shop.example", "Connection: close", *headers]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
            with client.makefile("rb") as answer:
                head, _, body = answer.read().decode("latin-1").partition("\r\n\r\n")
        return head, body

    return asked


def fixed(**spec: Any) -> dict[str, Any]:
    return {"backends": [], "fixedResponse": spec}


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("/.*.*x", "/" + "a" * 8000),
        ("/(?:.*|.*)(?:.*|.*)x", "/" + "a" * 8000),
        ("/.*[a-z]*1", "/1" + "a" * 8000),
        ("/(?:" + "[ab]" * 9 + "){100}", "/" + "ab" * 4000),
        ("/(?:[0-9]{2}-)+x", "/" + "12-" * 2000),
        (r"/[\[\]{}()|.*+?^$\\/-]+1", "/" + "a" * 8000),
    ],
)
def test_an_expression_that_was_accepted_is_compiled_and_answers(load, ask, expression, path):
    """Or nginx would refuse the whole listener, or be kept busy by a single request."""
    load(path={"type": "RegularExpression", "value": expression}, **fixed(body="matched"))
    assert ask(path)[0].split()[1] in ("200", "404", "500")


def test_an_expression_that_goes_back_and_forth_too_often_is_given_up(load, ask, pod):
    load(path={"type": "RegularExpression", "value": "/.*.*x"}, **fixed(body="matched"))
    assert ask("/" + "a" * 8000)[0].startswith("HTTP/1.1 500 ")
    assert "pcre2_match() failed" in pod.log.read_text()
    assert ask("/" + "a" * 200 + "x")[1] == "matched"
