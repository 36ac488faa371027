"""TCP and UDP listeners in the real nginx: loaded, answered, reloaded to another backend."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consul_nginx.model.bundle import Bundle
from nginx.support import Pod, free_port, nginx_binary, pod_on_a_volume, wait_for


class Backend:
    """Answers every line (TCP) and every datagram (UDP) with its name."""

    def __init__(self, name: str) -> None:
        word = name.encode()

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for _ in self.rfile:
                    self.wfile.write(word + b"\n")

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request[1].sendto(word, self.client_address)

        self.servers: list[socketserver.BaseServer] = [
            socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tcp),
            socketserver.ThreadingUDPServer(("127.0.0.1", 0), Udp),
        ]
        self.tcp, self.udp = (server.server_address[1] for server in self.servers)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def backends() -> Iterator[tuple[Backend, Backend]]:
    both = Backend("one"), Backend("two")
    yield both
    for backend in both:
        backend.stop()


Ports = tuple[int, int, int]


@pytest.fixture
def ports() -> Ports:
    """For TCP, UDP and HTTP."""
    return free_port(), free_port(), free_port()


def bundle(pod: Pod, *, ports: Ports, backend: Backend) -> Bundle:
    files = pod.files(port=ports[2])
    files["nginx.conf"] += "stream {\n  include stream.conf;\n}\n"
    files["stream.conf"] = (
        "upstream t { include endpoints-t.conf; }\n"
        "upstream u { include endpoints-u.conf; }\n"
        f"server {{ listen 127.0.0.1:{ports[0]}; proxy_pass t; }}\n"
        f"server {{ listen 127.0.0.1:{ports[1]} udp; proxy_pass u; proxy_responses 1; }}\n"
    )
    files["endpoints-t.conf"] = f"server 127.0.0.1:{backend.tcp};\n"
    files["endpoints-u.conf"] = f"server 127.0.0.1:{backend.udp};\n"
    return Bundle.of(files)


@contextlib.contextmanager
def session(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        yield client


def line(client: socket.socket) -> str:
    client.sendall(b"?\n")
    return client.recv(100).decode().strip()


def tcp(port: int) -> str:
    with session(port) as client:
        return line(client)


def udp(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"?", ("127.0.0.1", port))
        return client.recv(100).decode()


def test_tcp_and_udp_are_served_and_reloaded_to_another_backend(
    pod: Pod, ports: Ports, backends: tuple[Backend, Backend]
) -> None:
    first, second = (bundle(pod, ports=ports, backend=backend) for backend in backends)
    assert first.structure == second.structure
    assert pod.load(first)["ok"]
    assert (tcp(ports[0]), udp(ports[1])) == ("one", "one")
    assert pod.load(second, test=False)["ok"]
    assert {tcp(ports[0]) for _ in range(20)} == {"two"}
    assert {udp(ports[1]) for _ in range(20)} == {"two"}


def test_an_open_tcp_session_survives_a_reload(
    pod: Pod, ports: Ports, backends: tuple[Backend, Backend]
) -> None:
    first, second = (bundle(pod, ports=ports, backend=backend) for backend in backends)
    assert pod.load(first)["ok"]
    with session(ports[0]) as client:
        assert line(client) == "one"
        assert pod.load(second)["ok"]
        assert tcp(ports[0]) == "two"
        assert [line(client) for _ in range(3)] == ["one"] * 3


def test_stream_is_there_again_after_a_killed_master(
    pod: Pod, ports: Ports, backends: tuple[Backend, Backend]
) -> None:
    loaded = bundle(pod, ports=ports, backend=backends[0])
    assert pod.load(loaded)["ok"]
    os.kill(pod.status()["master"], 9)
    wait_for(lambda: (status := pod.status())["restarts"] and status["hash"])
    assert (tcp(ports[0]), udp(ports[1])) == ("one", "one")


def test_without_the_module_only_stream_bundles_are_refused_in_nginx_words(
    tmp_path: Path, ports: Ports, backends: tuple[Backend, Backend]
) -> None:
    """As with Debian's nginx when the package of the module is not installed."""
    without = tmp_path / "nginx"
    move = "--modules-path=/nowhere --was="
    without.write_text(
        f'#!/bin/sh\nif [ "$*" = -V ]; then\n  "{nginx_binary()}" -V 2>&1'
        f' | sed "s#--modules-path=#{move}#" >&2\n  exit\nfi\nexec "{nginx_binary()}" "$@"\n'
    )
    without.chmod(0o755)
    with pod_on_a_volume() as pod:
        pod.binary = str(without)
        pod.start()
        answer = pod.load(bundle(pod, ports=ports, backend=backends[0]))
        assert (answer["ok"], answer["stage"]) == (False, "test")
        assert 'unknown directive "stream"' in answer["output"]
        assert pod.load(pod.bundle(port=ports[2]))["ok"]
