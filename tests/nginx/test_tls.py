"""TLS in the real nginx, from the objects that people write to what their clients see."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.consul import Observation
from consul_nginx.model.secret_files import content_of
from consul_nginx.nginx.render import render
from consul_nginx.resources.tls_secret import parse_tls_secret
from nginx.support import Pod
from nginx.tls import Backend, Greeting, greet, https_get
from unit.certificates import Issued, issued, tls_secret
from unit.factories import instance, load_balancer, mapping, planned


@dataclass
class Edge:
    """A pod with one listener; ``serve`` is what operator and agent do."""

    pod: Pod
    port: int
    backends: dict[str, Backend] = field(default_factory=dict)

    def backend(self, name: str, made: Issued | None = None) -> None:
        self.backends[name] = Backend(name, made)

    def serve(
        self,
        listener: dict[str, Any],
        *mappings: tuple[str, list[str]],
        secrets: dict[str, Issued] | None = None,
        refused: bool = False,
    ) -> dict[str, Any]:
        certificates = {
            name: self._unpack(tls_secret(name, made)) for name, made in (secrets or {}).items()
        }
        items = [
            mapping(
                name, listener="x", hostnames=hosts, backends=[{"service": name}],
                meta={"creationTimestamp": f"2026-11-22T07:00:{number:02}Z"},
            )
            for number, (name, hosts) in enumerate(mappings)
        ]  # fmt: skip
        addresses = {item.meta.ref.name: f"10.244.1.{n}" for n, item in enumerate(items, start=2)}
        plan = planned(
            load_balancer=load_balancer(listeners=[{"name": "x", "port": self.port, **listener}]),
            mappings=items,
            snapshot={
                query: Observation(instances=(instance(addresses[item.meta.ref.name]),))
                for item in items
                for query in item.queries
            },
            certificates=certificates,
        )
        assert all(verdict.accepted.is_true for _, verdict in plan.mappings), plan.mappings
        bundle = render(configuration=plan.configuration, layout=self.pod.layout)
        files = dict(bundle.files)
        for name, address in addresses.items():
            here = f"127.0.0.1:{self.backends[name].port}"
            files = {k: text.replace(f"{address}:8080", here) for k, text in files.items()}
        if os.geteuid() == 0:
            files["nginx.conf"] = f"user root;\n{files['nginx.conf']}"
        answer = self.pod.load(Bundle.of(files, secrets=bundle.secrets))
        assert answer["ok"] is not refused, answer
        return answer

    def _unpack(self, raw: dict[str, Any]) -> Certificate:
        certificate = parse_tls_secret(raw)
        folder = Path(self.pod.layout.secrets)
        folder.mkdir(exist_ok=True)
        content = content_of(data=raw["data"], keys=certificate.file.kind.keys)
        (folder / certificate.file.name).write_bytes(content)
        return certificate

    def shown(self, name: str | None, **more: Any) -> int:
        return greet(self.port, name, **more).serial

    def body(self, name: str, *, path: str = "/") -> str:
        return text_of(https_get(self.port, name, path))


def text_of(greeting: Greeting) -> str:
    return greeting.said.decode().rpartition("\r\n\r\n")[2]


def serial(made: Issued) -> int:
    return made.certificate.serial_number


def https(*secrets: str, **tls: Any) -> dict[str, Any]:
    refs = [{"name": name} for name in secrets]
    return {"protocol": "HTTPS", "tls": {"certificateRefs": refs, **tls}}


def tls(*secrets: str) -> dict[str, Any]:
    return {**https(*secrets), "protocol": "TLS"}


PASSTHROUGH = {"protocol": "TLS", "tls": {"mode": "Passthrough"}}


@pytest.fixture
def edge(pod: Pod, port: int) -> Iterator[Edge]:
    edge = Edge(pod=pod, port=port)
    yield edge
    for backend in edge.backends.values():
        backend.stop()


@pytest.fixture
def shop(edge: Edge) -> Edge:
    edge.backend("shop")
    edge.backend("blog")
    return edge


def test_each_name_is_shown_its_certificate_and_the_others_the_first(shop: Edge) -> None:
    first = issued("shop.example.com")
    blog = issued("blog.example.com", "*.blog.example.com")
    exact = issued("new.blog.example.com")
    shop.serve(
        https("a", "b", "c"),
        ("shop", ["shop.example.com", "new.blog.example.com", "old.blog.example.com"]),
        ("blog", ["blog.example.com"]),
        secrets={"a": first, "b": blog, "c": exact},
    )
    for name, made in (
        ("shop.example.com", first),
        ("blog.example.com", blog),
        ("old.blog.example.com", blog),
        ("new.blog.example.com", exact),
        ("unknown.example.com", first),
        (None, first),
    ):
        assert shop.shown(name) == serial(made), name
    assert shop.body("shop.example.com") == "shop"
    assert shop.body("blog.example.com") == "blog"
    assert "no mapping for this host" in shop.body("unknown.example.com")


def test_names_that_only_a_certificate_has_are_shown_it_and_served_by_the_default(
    shop: Edge,
) -> None:
    first, other = issued("shop.example.com"), issued("a.example.net", "*.example.org")
    shop.serve(https("a", "b"), ("shop", []), secrets={"a": first, "b": other})
    for name in ("a.example.net", "b.example.org"):
        assert shop.shown(name) == serial(other)
        assert shop.body(name) == "shop"
    assert shop.shown("b.example.net") == serial(first)


def test_http_2_and_1_1_are_both_spoken(shop: Edge) -> None:
    shop.serve(https("a"), ("shop", []), secrets={"a": issued("shop.example.com")})
    assert greet(shop.port, "shop.example.com", alpn=("h2", "http/1.1")).alpn == "h2"
    assert greet(shop.port, "shop.example.com", alpn=("http/1.1",)).alpn == "http/1.1"
    assert greet(shop.port, "unknown.example.com", alpn=("h2",)).alpn == "h2"


@pytest.mark.parametrize(
    ("minimum", "most", "spoken"),
    [
        ("TLSv1.2", None, "TLSv1.3"),
        ("TLSv1.2", "TLSv1_2", "TLSv1.2"),
        ("TLSv1.2", "TLSv1_1", None),
        ("TLSv1.3", None, "TLSv1.3"),
        ("TLSv1.3", "TLSv1_2", None),
    ],
)
@pytest.mark.parametrize("protocol", ["HTTPS", "TLS"])
@pytest.mark.parametrize("name", ["shop.example.com", "unknown.example.com"])
def test_the_minimum_version_is_the_minimum(
    shop: Edge, protocol: str, name: str, minimum: str, most: str | None, spoken: str | None
) -> None:
    hosts = ["shop.example.com"] if name == "unknown.example.com" and protocol == "HTTPS" else []
    shop.serve(
        {**https("a", minVersion=minimum), "protocol": protocol},
        ("shop", hosts),
        secrets={"a": issued("shop.example.com")},
    )
    if spoken is None:
        with pytest.raises(ssl.SSLError):
            greet(shop.port, name, most=most)
    else:
        assert greet(shop.port, name, most=most).version == spoken


def test_without_its_certificate_a_name_is_refused_and_the_others_are_served(shop: Edge) -> None:
    made = issued("blog.example.com")
    shop.serve(
        https("missing", "b"),
        ("shop", ["shop.example.com"]),
        ("blog", ["blog.example.com"]),
        secrets={"b": made},
    )
    assert shop.shown("blog.example.com") == serial(made)
    assert shop.body("blog.example.com") == "blog"
    for name in ("shop.example.com", "unknown.example.com", None):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            shop.shown(name)


def test_a_rotated_certificate_is_shown_after_an_ordinary_reload(shop: Edge) -> None:
    one, two = issued("shop.example.com"), issued("shop.example.com")
    shop.serve(https("a"), ("shop", []), secrets={"a": one})
    assert shop.shown("shop.example.com") == serial(one)
    shop.serve(https("a"), ("shop", []), secrets={"a": two})
    assert shop.shown("shop.example.com") == serial(two)
    assert shop.pod.status()["reloads"] == 1


def test_passthrough_leaves_the_handshake_to_the_backend_that_the_name_leads_to(
    edge: Edge,
) -> None:
    made = {name: issued(f"{name}.example.com") for name in ("one", "two", "rest")}
    for name, item in made.items():
        edge.backend(name, item)
    edge.serve(
        PASSTHROUGH,
        ("one", ["one.example.com", "uno.example.com"]),
        ("two", ["two.example.com"]),
        ("rest", []),
    )
    for host, name in (
        ("one.example.com", "one"),
        ("uno.example.com", "one"),
        ("TWO.example.com", "two"),
        ("unknown.example.com", "rest"),
        (None, "rest"),
    ):
        found = greet(edge.port, host, send=b"GET / HTTP/1.1\r\n\r\n")
        assert found.serial == serial(made[name]), host
        assert text_of(found) == name


def test_a_name_that_no_mapping_has_is_not_passed_through(edge: Edge) -> None:
    made = issued("one.example.com")
    edge.backend("one", made)
    edge.serve(PASSTHROUGH, ("one", ["one.example.com"]))
    assert edge.shown("one.example.com") == serial(made)
    for name in ("unknown.example.com", None):
        with pytest.raises(OSError):  # noqa: PT011 - closed or reset, as the kernel likes
            edge.shown(name)


def test_tls_is_taken_off_for_tcp_backends_by_name(shop: Edge) -> None:
    one, two = issued("one.example.com"), issued("two.example.com")
    shop.serve(
        tls("a", "b"),
        ("shop", ["one.example.com"]),
        ("blog", ["two.example.com"]),
        secrets={"a": one, "b": two},
    )
    for name, made, text in (
        ("one.example.com", one, "shop"),
        ("two.example.com", two, "blog"),
    ):
        found = greet(shop.port, name, send=b"GET / HTTP/1.1\r\n\r\n")
        assert (found.serial, text_of(found)) == (serial(made), text)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shop.shown("unknown.example.com")


def test_tls_for_tcp_without_names_takes_every_name(shop: Edge) -> None:
    made = issued("one.example.com")
    shop.serve(tls("a"), ("shop", []), secrets={"a": made})
    for name in ("one.example.com", "another.example.com", None):
        found = greet(shop.port, name, send=b"GET / HTTP/1.1\r\n\r\n")
        assert (found.serial, text_of(found)) == (serial(made), "shop")


def test_a_session_is_resumed_without_a_ticket_of_ours(shop: Edge) -> None:
    shop.serve(https("a"), ("shop", []), secrets={"a": issued("shop.example.com")})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    reused = []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", shop.port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="shop.example.com", session=session) as secure,
        ):
            session = secure.session
            assert session
            assert not session.has_ticket
            reused.append(secure.session_reused)
    assert reused == [False, True]
