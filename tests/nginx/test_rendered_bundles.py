"""What the renderer writes, in the real nginx: it loads, and requests go where they should."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.support.traffic import ask
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.consul import Health, Observation
from consul_nginx.model.nginx import Configuration
from consul_nginx.nginx.render import render
from nginx.support import Pod, wait_for
from unit.factories import instance, load_balancer, mapping, planned

# The plan refuses loopback addresses: the rendered ones are exchanged for these.
LIVING, DEAD = "10.244.1.2", "10.244.1.3"
BACKEND, NOBODY = "127.0.0.2", "127.0.0.3:9"


class Backend(BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[int]:
    """Port of a running backend."""
    server = ThreadingHTTPServer((BACKEND, 0), Backend)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve(pod: Pod, port: int) -> Callable[..., str]:
    """Plan, render and load mappings; returns the listener's address."""

    def load(*mappings, instances=None, backend=0) -> str:
        plan = planned(
            load_balancer=load_balancer(listeners=[{"name": "http", "port": port}]),
            mappings=mappings,
            snapshot={
                query: Observation(instances=instances)
                for item in mappings
                for query in item.queries
            },
        )
        answer = pod.load(_with_backend(pod, plan.configuration, backend))
        assert answer["ok"], answer
        return f"127.0.0.1:{port}"

    return load


def _with_backend(pod: Pod, configuration: Configuration, backend: int) -> Bundle:
    bundle = render(configuration=configuration, layout=pod.layout)
    files = {
        name: text.replace(f"{LIVING}:8080", f"{BACKEND}:{backend}").replace(f"{DEAD}:8080", NOBODY)
        for name, text in bundle.files.items()
    }
    if os.geteuid() == 0:
        # Else the workers of a nginx started as root have another uid, and can't reach its sockets.
        files["nginx.conf"] = f"user root;\n{files['nginx.conf']}"
    return Bundle.of(files)


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("shop.example", "/features", 200),
        ("shop.example", "/features/", 200),
        ("shop.example", "/features/new?x=1", 200),
        ("shop.example:8080", "/features", 200),
        ("SHOP.example", "/features", 200),
        ("shop.example", "/featuresque", 404),
        ("shop.example", "/", 404),
        ("evil.example", "/features", 404),
        ("shop.example.evil", "/features", 404),
    ],
)
def test_host_and_path_prefix_decide(serve, backend, host, path, status):
    shop = mapping(hostnames=["shop.example"], path={"value": "/features"})
    address = serve(shop, instances=(instance(),), backend=backend)
    found, body = ask(address=address, host=host, path=path)
    assert found == status
    if status == 200:
        assert body["path"] == path


def test_the_longer_path_wins(serve, backend):
    address = serve(
        mapping("all", backends=[{"service": "nobody"}]),
        mapping("some", path={"value": "/a/b"}),
        instances=(instance(),),
        backend=backend,
    )
    assert ask(address=address, host="x", path="/a/b/c")[1]["path"] == "/a/b/c"


def test_a_mapping_without_host_names_takes_what_no_other_names(serve, backend):
    address = serve(
        mapping("any"),
        mapping("shop", hostnames=["shop.example"], path={"value": "/features"}),
        instances=(instance(),),
        backend=backend,
    )
    assert ask(address=address, host="whatever", path="/")[0] == 200
    assert ask(address=address, host="shop.example", path="/")[0] == 404


@pytest.mark.parametrize(
    "instances", [(), (instance(health=Health.CRITICAL),), None], ids=["none", "sick", "unknown"]
)
def test_no_endpoint_answers_503(serve, instances):
    address = serve(mapping(), instances=instances)
    assert ask(address=address, host="x") == (503, "no healthy instance\n")


def test_a_dead_backend_beside_a_living_one_is_not_seen_by_clients(serve, backend):
    address = serve(mapping(), instances=(instance(LIVING), instance(DEAD)), backend=backend)
    assert {ask(address=address, host="x")[0] for _ in range(20)} == {200}


def test_a_nginx_that_ends_answers_on_a_kept_connection_and_closes_it_by_word(serve, backend, pod):
    """Only what was idle for longer than keepaliveGrace is closed without a word."""
    address = serve(mapping(), instances=(instance(),), backend=backend)
    kept = http.client.HTTPConnection(address, timeout=5)
    assert _asked(kept) == (200, "keep-alive")
    pod.process.send_signal(signal.SIGQUIT)
    wait_for(lambda: _refused(address), why="no worker listens any more")
    assert _asked(kept) == (200, "close")


def _asked(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/")
    with connection.getresponse() as answer:
        answer.read()
        return answer.status, answer.getheader("Connection")


def _refused(address: str) -> bool:
    other = http.client.HTTPConnection(address, timeout=5)
    try:
        other.connect()
    except ConnectionRefusedError:
        return True
    other.close()
    return False


def test_a_host_name_of_253_characters_loads(serve, backend):
    name = ".".join(["x" * 60, "y" * 60, "z" * 60, "w" * 60])
    address = serve(mapping(hostnames=[name]), instances=(instance(),), backend=backend)
    assert ask(address=address, host=name)[0] == 200


def test_backends_see_the_client_and_the_host(serve, backend):
    address = serve(mapping(), instances=(instance(),), backend=backend)
    headers = ask(address=address, host="shop.example:81")[1]["headers"]
    assert headers["Host"] == headers["X-Forwarded-Host"] == "shop.example:81"
    assert headers["X-Real-IP"] == headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
