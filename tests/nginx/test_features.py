"""The golden folders of tests/unit/golden in the real nginx: what clients and backends notice.

A test per folder at least; ``feature("NAME")`` is how tests/unit/test_fields.py finds out.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from consul_nginx.model.consul import Observation, ServiceQuery
from nginx.served import HERE, Echo, Http, HttpBackend, Served, echo, loaded, says, served
from nginx.support import Pod, free_port, wait_for
from nginx.tls import Backend, greet, https_get
from unit.certificates import Issued, certificate, issued, kept, pem
from unit.factories import instance, load_balancer, mapping, planned
from unit.features import GOLDEN, manifests
from unit.users import credentials

Load = Callable[..., Served]


@pytest.fixture
def feature(pod: Pod) -> Iterator[Load]:
    """Loads a golden folder into nginx."""
    with ExitStack() as stack:
        yield lambda name, own=(): stack.enter_context(served(pod, name, own=frozenset(own)))


def test_one_host_and_one_path(feature: Load):
    nginx = feature("http")
    assert nginx.ask("/features", host="shop.example").asked["path"] == "/features"
    assert nginx.ask("/features", host="other.example").status == 404


def test_tcp_and_udp_share_a_port_number(feature: Load):
    nginx = feature("tcp-and-udp")
    for listener in ("thrift", "dns-tcp"):
        with nginx.connect(listener) as client:
            client.sendall(b"hello\n")
            assert client.makefile().readline().endswith(" hello hello\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"who", ("127.0.0.1", nginx.ports["dns"]))
        assert client.recv(100).endswith(b" who")


def test_the_most_exact_host_name_wins(feature: Load):
    nginx = feature("hosts")
    expected = {
        "shop.example.com": 1, "SHOP.example.com": 1, "localhost": 1, "192.168.10.201": 1,
        "[2001:db8::1]": 1, "[2001:DB8::1]:80": 1, "www.example.com": 2, "a.b.example.com": 2,
        "example.com": 4, "www.eu.example.com": 3, "eu.example.com": 2, "else": 4,
    }  # fmt: skip
    assert {host: nginx.backend(host=host) for host in expected} == expected


def test_exact_wins_over_expressions_and_those_over_prefixes(feature: Load):
    nginx = feature("paths")
    expected = {
        "/shop": 1, "/shop?x=1": 1, "/shop/": 2, "/shop/x": 2, "/shop/cart": 3, "/shop/cart/1": 3,
        "/shop/a.png": 4, "/shop/a.jpg": 4, "/shop/cart/a.png": 3, "/shop/a.png/x": 2,
        "/shop/%61.png": 4, "/items/7": 5, "/items/42": 5, "/items/42/x": 5,
    }  # fmt: skip
    assert {path: nginx.backend(path) for path in expected} == expected
    assert {nginx.ask(path).status for path in ("/items/x", "/shopping", "/")} == {404}


def test_a_canary_gets_its_share_however_many_instances_there_are(feature: Load):
    nginx = feature("canary")
    counts = Counter(nginx.backend() for _ in range(200))
    assert counts == {1: 60, 2: 60, 3: 60, 4: 20}


def test_nginx_answers_itself(feature: Load):
    nginx = feature("answers")

    def sent(path: str, host: str) -> tuple[int, str]:
        answer = nginx.ask(path, host=host)
        return answer.status, answer.headers["location"]

    port = nginx.ports["http"]
    assert sent("/old/x?y=1", "shop.example") == (308, "https://new.example.com:8443/new")
    assert sent("/a?b=c", f"plain.example.com:{port}") == (301, "https://plain.example.com/a?b=c")
    assert sent("/docs", f"shop.example:{port}") == (
        302,
        f"http://shop.example:{port}/documentation/",
    )
    closed = nginx.ask("/closed")
    assert (closed.status, closed.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert closed.text == '<p class="sorry">Back soon. It costs $5, "no more" \\n.</p>\n'
    assert closed.headers["retry-after"] == "120"


def test_the_fallback_serves_while_nobody_else_does(feature: Load):
    nginx = feature("fallback")
    assert Counter(nginx.backend() for _ in range(20)) == {8: 15, 9: 5}


def test_who_serves_while_instances_fail_flap_or_come_back(feature: Load):
    nginx = feature("missing-instances")

    def answering(host: str) -> Counter[int]:
        return Counter(nginx.backend(host=host) for _ in range(20))

    assert answering("warning.example").keys() == {1, 2}
    assert answering("few.example").keys() == {9}
    assert answering("kept.example").keys() == answering("held.example").keys() == {3, 4}
    assert nginx.ask(host="failing.example").status == 503
    assert answering("flapping.example").keys() == {5}
    assert answering("slow.example") == {5: 16, 6: 4}


def test_what_is_hashed_stays_with_one_instance(feature: Load):
    nginx = feature("balancing")
    for how in (
        [{"host": "user.example", "x_user": f"u{number}"} for number in range(30)],
        [{"host": "session.example", "Cookie": f"a=b; session=s{number}"} for number in range(30)],
        [{"host": "query.example", "path": f"/?x=1&id={number}"} for number in range(30)],
        [{"host": "uri.example", "path": f"/page/{number}"} for number in range(30)],
    ):
        first = [nginx.backend(**one) for one in how]
        assert first == [nginx.backend(**one) for one in how]
        assert set(first) == {1, 2, 3}, how[0]["host"]
    assert len({nginx.backend(host="ip.example", path=f"/{number}") for number in range(9)}) == 1


def test_who_is_busy_gets_no_more(feature: Load):
    nginx, busy = feature("balancing"), threading.Event()

    def wait(handler: Echo, asked: dict[str, Any]) -> None:
        if asked["path"] == "/slow":
            busy.wait(10)
        echo(handler, asked)

    for backend in nginx.http.values():
        backend.reply = wait
    with ThreadPoolExecutor(max_workers=2) as pool:
        slow = [pool.submit(nginx.ask, "/slow", host="least.example") for _ in range(2)]
        try:
            wait_for(lambda: sum(len(item.asked) for item in nginx.http.values()) == 2)
            taken = {item.number for item in nginx.http.values() if item.asked}
            assert len(taken) == 2
            assert {nginx.backend(host="least.example") for _ in range(12)} == {1, 2, 3} - taken
            assert {nginx.backend(host="random.example") for _ in range(30)} != taken
        finally:
            busy.set()
    assert {item.result().status for item in slow} == {200}


def test_connections_to_instances_are_kept_as_it_is_said(feature: Load):
    nginx = feature("balancing")

    def connections(host: str) -> Counter[tuple[int, int]]:
        answers = [nginx.ask(host=host).asked for _ in range(36)]
        return Counter((item["backend"], item["connection"]) for item in answers)

    assert set(connections("once.example").values()) == {1}
    assert max(connections("kept.example").values()) <= 3
    assert len(connections("kept.example")) < 36


def test_no_more_than_the_most_connections_go_to_an_instance(feature: Load):
    """All three are full with two each; what comes then is told so."""
    nginx, full = feature("balancing"), threading.Event()

    def wait(handler: Echo, asked: dict[str, Any]) -> None:
        full.wait(20)
        echo(handler, asked)

    for backend in nginx.http.values():
        backend.reply = wait
    request = b"GET / HTTP/1.1\r\nHost: least.example\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(nginx.connect("http")).sendall(request)
        wait_for(lambda: sum(len(item.asked) for item in nginx.http.values()) == 6)
        try:
            assert nginx.ask(host="least.example").status == 502
        finally:
            full.set()


def test_nginx_leaves_out_who_fails_too_often(feature: Load):
    nginx = feature("max-fails", own={1})
    assert {nginx.ask().status for _ in range(20)} == {200}
    log = nginx.log()
    assert log.count("connect() failed") == 2, "two failures, then it is left out"


def test_a_request_fails_when_its_time_is_over(feature: Load):
    nginx = feature("times-and-retries")
    late = threading.Event()

    def wait(handler: Echo, asked: dict[str, Any]) -> None:
        late.wait(5)
        echo(handler, asked)

    for backend in nginx.http.values():
        backend.reply = wait
    began = time.monotonic()
    try:
        assert nginx.ask("/patient").status == 504
        assert 0.4 < time.monotonic() - began < 4
        assert sum(len(item.asked) for item in nginx.http.values()) == 1, "no other is asked"
    finally:
        late.set()


def test_another_instance_is_asked_for_what_it_is_said(feature: Load):
    nginx = feature("times-and-retries")
    nginx.http[1].reply = says(503, "busy")
    assert {nginx.ask("/stubborn", method="POST").status for _ in range(4)} == {200}
    assert {nginx.ask("/never").status for _ in range(4)} == {200, 503}


def test_bodies_are_bounded_and_passed_on_as_they_come(feature: Load):
    nginx = feature("bodies")
    assert nginx.ask("/upload", method="POST", body="x" * 2048).status == 200
    assert nginx.ask("/upload", method="POST", body="x" * 2049).status == 413
    assert nginx.ask("/events", method="POST", body="x" * 2049).status == 200
    begun, wait = threading.Event(), threading.Event()

    def slowly(handler: Echo, asked: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"first")
        handler.wfile.flush()
        begun.set()
        wait.wait(10)
        handler.wfile.write(b"later")

    nginx.http[1].reply = slowly
    connection = http.client.HTTPConnection("127.0.0.1", nginx.ports["http"], timeout=5)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    try:
        assert answer.read(5) == b"first", "before the rest is there"
    finally:
        wait.set()
    assert answer.read() == b"later"


def test_answers_are_compressed_for_who_accepts_it(feature: Load):
    nginx = feature("bodies")
    nginx.http[1].reply = says(200, "text " * 100, {"Content-Type": "text/plain"})
    connection = http.client.HTTPConnection("127.0.0.1", nginx.ports["http"], timeout=5)
    connection.request("GET", "/text", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(answer.read()) == b"text " * 100
    assert "content-encoding" not in nginx.ask("/text").headers


def test_headers_are_set_and_removed(feature: Load):
    nginx = feature("headers")

    asked = nginx.ask(Cookie="secret=1", X_Other="kept").asked["headers"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+ costs \$5", asked["x-client"])
    assert asked["host"] == "inside.example"
    assert asked["x-forwarded-host"] == "shop.example"
    assert asked["x-other"] == "kept"
    assert "cookie" not in asked
    own = {"X-Powered-By": "PHP", "X-Quoted": "own", "X-Kept": "yes"}
    nginx.http[1].reply = says(200, "x", own)
    told = nginx.ask().headers
    assert told["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert told["x-quoted"] == 'a "quote", a \\ and {braces};'
    assert told["x-kept"] == "yes"
    assert "x-powered-by" not in told


def speaks_websocket(handler: Echo, asked: dict[str, Any]) -> None:
    """Says what it heard where it is asked to, for one line."""
    if asked["headers"].get("upgrade") != "websocket":
        echo(handler, asked)
        return
    handler.send_response_only(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.end_headers()
    handler.wfile.flush()
    handler.wfile.write(b"heard " + handler.rfile.readline())
    handler.close_connection = True


def upgrade(nginx: Served, path: str, protocol: str) -> bytes:
    """What is heard after an upgrade; the status where there was none."""
    with nginx.connect("http") as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: {protocol}\r\n"
            "Connection: Upgrade\r\n\r\n".encode()
        )
        answer = client.makefile("rb")
        status = answer.readline()
        while answer.readline() not in (b"\r\n", b""):
            pass
        if b" 101 " not in status:
            return status
        client.sendall(b"hello\n")
        return answer.readline()


def test_websocket_passes_where_it_may_and_nothing_else_does(feature: Load):
    nginx = feature("websocket")
    nginx.http[1].reply = speaks_websocket
    assert upgrade(nginx, "/", "websocket") == b"heard hello\n"
    assert upgrade(nginx, "/", "WebSocket") == b"heard hello\n"
    assert b" 200 " in upgrade(nginx, "/", "h2c"), "smuggled past nginx otherwise"
    assert b" 200 " in upgrade(nginx, "/plain", "websocket")
    assert "upgrade" not in nginx.ask().asked["headers"]


def test_backends_see_another_prefix(feature: Load):
    nginx = feature("replaced-prefix")
    expected = {
        "/api": "/", "/api/": "/", "/api/x?y=1": "/x?y=1", "/old/shop": "/v2",
        "/old/shop/a/b": "/v2/a/b",
    }  # fmt: skip
    assert {path: nginx.ask(path).asked["path"] for path in expected} == expected


def greeter(*, port: int, number: int, credentials: grpc.ServerCredentials | None) -> grpc.Server:
    """Says who it is, and what it heard in the header ``x-edge``."""

    def greet(request: bytes, context: grpc.ServicerContext) -> bytes:
        edge = dict(context.invocation_metadata()).get("x-edge", "nobody")
        return request + f" from {number} {edge}".encode()

    handler = grpc.method_handlers_generic_handler(
        "shop.Greeter", {"Greet": grpc.unary_unary_rpc_method_handler(greet)}
    )
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((handler,))
    address = f"{HERE}{number}:{port}"
    if credentials is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, credentials)
    server.start()
    return server


def greeted(nginx: Served, *headers: tuple[str, str]) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{nginx.ports['http']}") as channel:
        call = channel.unary_unary("/shop.Greeter/Greet")
        answer: bytes = call(b"hello", timeout=10, metadata=headers)
    return answer


def test_grpc_goes_through(feature: Load):
    server = greeter(port=50051, number=1, credentials=None)
    try:
        assert greeted(feature("grpc", own={1})) == b"hello from 1 nginx"
    finally:
        server.stop(None)


def test_backends_that_encrypt_are_spoken_to(feature: Load, tmp_path: Path):
    own = ec.generate_private_key(ec.SECP256R1())
    signed = pem(certificate(subject="shop", key=own, issuer="shop", by=own))
    (tmp_path / "pem").write_bytes(pem(own) + signed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    secure = socket.create_server((f"{HERE}1", 8443))
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    def answer() -> None:
        client, _ = secure.accept()
        with context.wrap_socket(client, server_side=True) as wrapped:
            wrapped.recv(4096)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    credentials = grpc.ssl_server_credentials([(pem(own), signed)])
    server = greeter(port=50052, number=2, credentials=credentials)
    try:
        nginx = feature("encrypted-backends", own={1, 2})
        assert nginx.ask(host="shop.example").text == "secret"
        assert names == ["shop.example"]
        assert greeted(nginx) == b"hello from 2 nobody"
    finally:
        server.stop(None)
        secure.close()
        thread.join(5)


def test_the_proxy_protocol_names_the_client(feature: Load):
    nginx = feature("proxy-protocol")
    with nginx.connect("http") as client:
        client.sendall(
            b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 80\r\n"
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = client.makefile().read()
    assert '"x-real-ip": "203.0.113.7"' in answer
    assert '"x-forwarded-for": "203.0.113.7"' in answer
    with nginx.connect("tcp") as client:
        client.sendall(b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 25000\r\nhello\n")
        lines = client.makefile()
        lines.readline()
        assert lines.readline().startswith("2 PROXY TCP4 203.0.113.7 ")
    with nginx.connect("http") as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100) == b"", "without it nobody is served"


def test_proxies_in_front_are_believed(feature: Load):
    nginx = feature("client-address")
    headers = nginx.ask(
        X_Forwarded_For="198.51.100.9, 203.0.113.7", X_Forwarded_Proto="https"
    ).asked["headers"]
    assert headers["x-real-ip"] == "203.0.113.7"
    assert headers["x-forwarded-for"] == "198.51.100.9, 203.0.113.7, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert nginx.ask(X_Forwarded_Proto="evil").asked["headers"]["x-forwarded-proto"] == "http"
    assert nginx.ask().asked["headers"]["x-forwarded-for"] == "127.0.0.1"
    moved = nginx.ask("/moved", X_Forwarded_Proto="https")
    assert moved.headers["location"] == "https://shop.example/"


def test_each_listener_logs_in_its_way(feature: Load):
    nginx = feature("access-logs")
    for listener in ("json", "combined", "own", "silent"):
        assert nginx.ask(f"/{listener}", listener=listener).status == 200
    with nginx.connect("tcp") as client:
        client.sendall(b"hello\n")
        assert client.makefile().readline() == "2 hello hello\n"
    log = wait_for(lambda: text if "TCP 14" in (text := nginx.log()) else "")
    assert re.search(r'^\{"time":.*"uri":"/json","status":200', log, re.M)
    assert re.search(r'^127\.0\.0\.1 - - \[.*\] "GET /combined HTTP/1\.1" 200', log, re.M)
    assert re.search(r'^127\.0\.0\.1 "GET /own HTTP/1\.1" 200 costs \$5$', log, re.M)
    assert "/silent" not in log


def test_a_port_sends_everybody_to_https(feature: Load):
    answer = feature("https-redirect").ask("/a?b=c", host="shop.example:80", method="POST")
    assert answer.status == 308
    assert answer.headers["location"] == "https://shop.example:8443/a?b=c"


def test_nginx_listens_on_both_families(feature: Load):
    nginx = feature("ip-families")
    for address in ("127.0.0.1", "::1"):
        assert nginx.ask(address=address).status == 200
        with nginx.connect("tcp", address=address) as client:
            client.sendall(b"hello\n")
            assert client.makefile().readline() == "2 hello hello\n"


def test_silent_sessions_end(feature: Load):
    nginx = feature("tcp-sessions", own={1})
    with nginx.connect("tcp") as client:
        client.sendall(b"hello\n")
        lines = client.makefile()
        assert lines.readline() == "2 hello hello\n", "1 does not listen: the next one is tried"
        began = time.monotonic()
        assert lines.readline() == ""
        assert time.monotonic() - began < 5
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"who", ("127.0.0.1", nginx.ports["udp"]))
        assert client.recv(100) == b"3 who"


def test_what_a_listener_allows_is_served(feature: Load):
    assert feature("allowed").backend(host="www.shop.example") == 1


def test_clients_are_told_apart_by_their_addresses(feature: Load):
    nginx = feature("clients")
    assert nginx.ask("/inside").status == 200
    assert nginx.ask("/outside").status == 403


def test_clients_get_as_much_as_they_may(feature: Load):
    nginx = feature("clients")
    assert [nginx.ask("/rare").status for _ in range(4)] == [200, 200, 200, 429]
    assert [nginx.ask("/users", X_User=user).status for user in "aab"] == [200, 429, 200]
    wait, begun = threading.Event(), threading.Event()

    def slowly(handler: Echo, asked: dict[str, Any]) -> None:
        begun.set()
        wait.wait(10)
        echo(handler, asked)

    nginx.http[1].reply = slowly
    with ThreadPoolExecutor(max_workers=1) as pool:
        first = pool.submit(nginx.ask, "/single")
        assert begun.wait(10)
        try:
            assert nginx.ask("/single").status == 429
        finally:
            wait.set()
        assert first.result().status == 200
    with nginx.connect("tcp") as first:
        first.sendall(b"hello\n")
        assert first.makefile().readline() == "2 hello hello\n"
        with nginx.connect("tcp") as second:
            assert second.recv(100) == b""


def test_a_client_stays_with_its_instance(feature: Load):
    nginx = feature("sticky")
    first = nginx.ask()
    cookie = first.headers["set-cookie"]
    assert {"httponly", "secure", "path=/", "max-age=3600"} <= {
        part.strip().lower() for part in cookie.split(";")
    }
    route = cookie.partition(";")[0]
    assert {nginx.backend(Cookie=route) for _ in range(9)} == {first.asked["backend"]}
    assert {nginx.backend() for _ in range(9)} == {1, 2, 3}


def test_pages_of_allowed_sites_read_answers(feature: Load):
    nginx = feature("cors")
    nginx.http[1].reply = says(200, "x", {"Access-Control-Allow-Origin": "https://backend.example"})

    def allowed(path: str, origin: str) -> str | None:
        return nginx.ask(path, Origin=origin).headers.get("access-control-allow-origin")

    for origin in ("https://shop.example", "https://a.b.shop.example:8443"):
        assert allowed("/api", origin) == origin
        assert allowed("/public", origin) == "*"
    for origin in (
        "http://shop.example", "https://evil-shop.example:8443", "https://a.shop.example",
        "https://a.shopxexample:8443", "https://shop.example.evil", "null",
    ):  # fmt: skip
        assert allowed("/api", origin) is None
    asked = len(nginx.http[1].asked)
    question = {"Origin": "https://shop.example", "Access_Control_Request_Method": "PUT"}
    answer = nginx.ask("/api", method="OPTIONS", **question)
    assert answer.status == 204
    told = {
        name.removeprefix("access-control-"): value
        for name, value in answer.headers.items()
        if name.startswith("access-control-")
    }
    assert told == {
        "allow-origin": "https://shop.example", "allow-methods": "GET, PUT", "max-age": "600",
        "allow-headers": "Content-Type, X-Token", "allow-credentials": "true",
        "expose-headers": "X-Total",
    }  # fmt: skip
    assert len(nginx.http[1].asked) == asked, "no backend was asked"
    assert nginx.ask("/api", method="OPTIONS").text == "x", "a backend's own to answer"


def test_who_knows_a_password_is_let_in_whatever_kind_of_hash_it_has(feature: Load):
    nginx = feature("users")
    for user in ("bcrypt", "apr1", "md5", "sha256", "sha512", "ssha"):
        for path in ("/admin", "/admin/x"):
            right = credentials(user, "open sesame")
            asked = nginx.ask(path, Authorization=right).asked
            assert asked["headers"]["authorization"] == right, "backends are told, as by nginx"
            wrong = nginx.ask(path, Authorization=credentials(user, "open sesam"))
            assert (wrong.status, user) == (401, user)
    for nobody in (
        {},
        {"Authorization": credentials("nobody", "open sesame")},
        {"Authorization": credentials("", "")},
        {"Authorization": "Bearer x"},
        {"Authorization": credentials("#", "The password of all")},
    ):
        answer = nginx.ask("/admin", **nobody)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="Shop\'s $office; staff only"'


def test_a_browsers_question_before_a_request_needs_no_password_and_the_request_does(
    feature: Load,
):
    nginx = feature("users")
    page = {"Origin": "https://shop.example"}
    question = nginx.ask("/api", method="OPTIONS", Access_Control_Request_Method="GET", **page)
    assert question.status == 204
    assert question.headers["access-control-allow-headers"] == "Authorization"
    assert not nginx.http[1].asked, "no backend was asked"
    refusal = nginx.ask("/api", **page)
    assert refusal.status == 401
    assert refusal.headers["access-control-allow-origin"] == "https://shop.example"
    assert nginx.ask("/api", method="OPTIONS", **page).status == 401, "no question of a browser's"
    known = nginx.ask("/api", Authorization=credentials("bcrypt", "open sesame"), **page)
    assert "authorization" not in known.asked["headers"], "a mapping may take it away"


def test_without_its_users_a_path_is_closed_and_the_others_are_not(feature: Load):
    nginx = feature("users")
    right = credentials("bcrypt", "open sesame")
    for path in ("/closed", "/closed/x"):
        for given in ({}, {"Authorization": right}):
            answer = nginx.ask(path, **given)
            assert (answer.status, answer.text) == (503, "the users of this path are not known\n")
    assert nginx.ask("/admin", Authorization=right).status == 200


def test_another_service_is_asked_of_those_who_know_a_password(feature: Load):
    nginx = feature("users")
    nginx.http[2].reply = guard
    for given in ({}, {"Authorization": credentials("bcrypt", "open sesam")}):
        assert nginx.ask("/both", **given).status == 401
    assert nginx.http[2].asked == []
    right = {"Authorization": credentials("bcrypt", "open sesame")}
    assert nginx.ask("/both", Cookie="status=403", **right).status == 403
    assert nginx.http[1].asked == []
    assert nginx.ask("/both", Cookie="user=ann", **right).status == 200


def test_each_host_name_is_shown_its_certificate(feature: Load):
    nginx = feature("https")
    port = nginx.ports["https"]
    names = {
        name: greet(port, name).names
        for name in ("shop.example.com", "blog.example.com", "x.blog.example.com", "else", None)
    }
    shop, blog = ("shop.example.com",), ("blog.example.com", "*.blog.example.com")
    assert names == {
        "shop.example.com": shop, "blog.example.com": blog, "x.blog.example.com": blog,
        "else": shop, None: shop,
    }  # fmt: skip
    answer = https_get(port, "blog.example.com").said.decode()
    assert '"backend": 2' in answer
    assert '"x-forwarded-proto": "https"' in answer
    with pytest.raises(ssl.SSLError):
        greet(port, "shop.example.com", most="TLSv1_2")
    moved = nginx.ask("/a", host="shop.example.com")
    assert (moved.status, moved.headers["location"]) == (301, "https://shop.example.com/a")


def test_the_backend_of_the_name_answers_the_handshake(feature: Load):
    nginx = feature("tls-passthrough", own={1, 2})
    backends = [
        Backend(name, issued(name), place=(f"{HERE}{number}", 8080))
        for number, name in enumerate(("vault", "rest"), start=1)
    ]
    port = nginx.ports["sni"]
    assert greet(port, "vault.example.com").names == ("vault",)
    assert greet(port, "other.example.com").names == ("rest",)
    with pytest.raises(OSError, match=r"EOF|reset"):
        greet(port, "vault.example.net")
    for backend in backends:
        backend.stop()


def test_tls_is_taken_off(feature: Load):
    nginx = feature("tls-termination")
    port = nginx.ports["mqtt"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(nginx.connect("mqtt"), server_hostname="mqtt.example.com") as client:
        client.sendall(b"hello\n")
        assert client.makefile().readline() == "1 hello hello\n"
    assert greet(port, "mqtt.example.com").names == ("mqtt.example.com",)


def test_a_backend_is_believed_by_its_authority_and_its_name(feature: Load):
    [secret] = [raw for raw in manifests("verified-backends") if raw["kind"] == "Secret"]
    nginx = feature("verified-backends", own={1})
    place = (f"{HERE}1", 8443)
    backend = Backend("secret", kept(secret["stringData"]), place=place)
    assert nginx.ask().text == "secret"
    assert nginx.ask("/another").status == 502, "its certificate is for another name"
    backend.stop()
    backend = Backend("secret", issued("secure.internal"), place=place)
    assert nginx.ask().status == 502, "no authority of ours signed its certificate"
    backend.stop()
    log = wait_for(lambda: text if "self-signed" in (text := nginx.log()) else "")
    assert "upstream SSL certificate verify error" in log
    assert "upstream SSL certificate does not match" in log


def test_a_connection_that_was_verified_for_one_name_serves_no_other(feature: Load, tmp_path: Path):
    """nginx looks at a certificate when it connects, and keeps the connection."""
    [secret] = [raw for raw in manifests("verified-backends") if raw["kind"] == "Secret"]
    for key in ("tls.crt", "tls.key"):
        (tmp_path / key).write_text(secret["stringData"][key])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    nginx = feature("verified-backends", own={1})
    server = Http((f"{HERE}1", 8443), Echo)
    server.backend = HttpBackend(number=1)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert {nginx.ask().status for _ in range(12)} == {200}
        assert {nginx.ask("/another").status for _ in range(12)} == {502}
        assert {nginx.ask().status for _ in range(12)} == {200}
    finally:
        server.shutdown()
        server.server_close()


def test_of_two_types_of_keys_each_client_is_shown_what_it_can_verify(feature: Load):
    nginx = feature("two-key-types")
    serials = {
        raw["metadata"]["name"]: kept(raw["stringData"]).certificate.serial_number
        for raw in manifests("two-key-types")
        if raw["kind"] == "Secret"
    }
    port = nginx.ports["https"]
    for name in ("shop.example.com", "else"):
        for kind in ("RSA", "ECDSA"):
            ciphers = f"ECDHE-{kind}-AES128-GCM-SHA256"
            found = greet(port, name, most="TLSv1_2", ciphers=ciphers)
            assert found.serial == serials[f"web-{kind.lower()}"]
        assert greet(port, name).serial == serials["web-ecdsa"], (
            "the shorter one, for who knows both"
        )


def test_clients_need_a_certificate(feature: Load):
    nginx = feature("client-certificates")
    [known] = [
        kept(raw["stringData"])
        for raw in manifests("client-certificates")
        if raw["metadata"]["name"] == "client-tls"
    ]

    def status(client: Issued | None, name: str) -> str:
        return https_get(nginx.ports["https"], name, client=client).said.decode().split(" ")[1]

    assert status(known, "shop.example.com") == "200"
    assert status(None, "shop.example.com") == "400"
    assert status(issued("stranger"), "shop.example.com") == "400"
    assert status(None, "else") == "400", "also where no mapping is"
    assert greet(nginx.ports["mqtt"], None, send=b"hello\n", lines=1, client=known).said == (
        b"2 hello hello\n"
    )
    for client in (None, issued("stranger")):
        assert greet(nginx.ports["mqtt"], None, send=b"hello\n", client=client).said == b""


def test_mappings_of_other_namespaces_share_a_host(feature: Load):
    nginx = feature("namespaces")
    assert [nginx.backend(path) for path in ("/", "/cart", "/cart/1", "/carts")] == [1, 2, 2, 1]
    assert [nginx.backend(path, listener="open") for path in ("/", "/cart")] == [1, 1]


def test_chosen_instances_are_served(feature: Load):
    nginx = feature("chosen-instances")
    assert {nginx.backend() for _ in range(20)} == {1, 4}
    assert set(nginx.http) == {1, 4}


def test_the_nearest_healthy_instances_are_served(feature: Load):
    nginx = feature("near")
    assert {nginx.backend() for _ in range(20)} == set(nginx.http) == {3, 4}


def test_templates_of_ones_own_beside_a_mapping(feature: Load):
    nginx = feature("own-template")
    answer = nginx.ask(listener="own")
    assert (answer.asked["backend"], answer.headers["x-motd"]) == (2, 'open; from "9" to 5')
    assert {nginx.backend(listener="http") for _ in range(20)} == {1, 2}
    with nginx.connect("thrift") as client:
        client.sendall(b"hello\n")
        assert client.makefile().readline() == "3 hello hello\n"


def test_all_of_the_http_block_by_one_template_and_a_listener_by_another(feature: Load):
    nginx = feature("own-http-block")
    assert {nginx.backend() for _ in range(9)} == {1}
    assert nginx.ask(listener="admin").text == "node-1 node-2"
    assert nginx.ask(listener="status").status == 204


def copied(backend: HttpBackend, path: str) -> dict[str, Any]:
    """The copy of a request, once it is there."""
    found: dict[str, Any] = wait_for(
        lambda: next((item for item in backend.asked if item["path"] == path), None)
    )
    return found


def test_copies_are_what_backends_get(feature: Load):
    nginx = feature("mirror")
    body = "0123456789" * 300_000
    told = {"Cookie": "a=b", "X_Secret": "s", "X_Mirrored_Uri": "/elsewhere"}
    original = nginx.ask("/a/b?x=1&y=%20z", method="POST", body=body, **told).asked
    copy = copied(nginx.http[2], "/a/b?x=1&y=%20z")
    for part in ("method", "path", "body"):
        assert copy[part] == original[part]
    expected = {name: text for name, text in original["headers"].items() if "mirrored" not in name}
    assert copy["headers"] == expected
    assert copy["headers"]["host"] == "shop.example"
    assert copy["headers"]["x-tenant"] == "shop"
    assert "x-secret" not in copy["headers"]


def test_a_header_that_is_set_in_another_case_takes_the_place_of_nginxs_own(pod: Pod):
    port = free_port()
    configuration = planned(
        load_balancer=load_balancer(listeners=[{"name": "http", "port": port}]),
        mappings=[
            mapping(
                backends=[{"service": "web"}],
                mirror={"backends": [{"service": "copies"}]},
                requestHeaders={
                    "set": [
                        {"name": "X-MIRRORED-URI", "value": "/elsewhere"},
                        {"name": "x-real-ip", "value": "nobody"},
                    ]
                },
            )
        ],
        snapshot={
            ServiceQuery(service=name): Observation(instances=(instance(f"10.244.0.{number}"),))
            for number, name in enumerate(("web", "copies"), start=1)
        },
    ).configuration
    with loaded(pod, configuration, ports={"http": port}) as nginx:
        assert nginx.ask("/a").asked["headers"]["x-real-ip"] == "nobody"
        assert copied(nginx.http[2], "/a")["headers"]["x-real-ip"] == "nobody"


def test_answers_to_copies_are_nobodys(feature: Load):
    nginx = feature("mirror")
    nginx.http[2].reply = says(500, "broken", {"X-Accel-Redirect": "/some", "X-Shadow": "yes"})
    answers = [nginx.ask(f"/{number}") for number in range(8)]
    copied(nginx.http[2], "/7")
    assert {answer.status for answer in answers} == {200}
    assert all("x-shadow" not in answer.headers for answer in answers)
    assert [item["path"] for item in nginx.http[1].asked] == [f"/{number}" for number in range(8)]


def test_a_share_of_the_requests_is_copied(feature: Load):
    nginx = feature("mirror")
    nginx.http[1].reply = says(200, "")
    for _ in range(300):
        nginx.ask("/some")
    nginx.ask("/the-last")
    copied(nginx.http[2], "/the-last")
    copies = [item for item in nginx.http[2].asked if item["path"] == "/some"]
    assert 60 < len(copies) < 145, "34 of 100, five standard deviations either way"


def test_a_mirror_that_is_down_or_never_answers_delays_nobody(feature: Load):
    """One connection: with nginx's own mirrors, its next request waits for the copies."""
    with socket.create_server((f"{HERE}4", 8080)) as silent:
        nginx = feature("mirror", own={3, 4})
        client = http.client.HTTPConnection("127.0.0.1", nginx.ports["http"], timeout=10)
        for path in ("/silent", "/refusing", "/nobody"):
            for body in ("", "x" * 500_000, ""):
                client.request("POST", path, body=body, headers={"Host": "shop.example"})
                answer = client.getresponse()
                assert (answer.status, json.loads(answer.read())["path"]) == (200, path)
        client.close()
        for _ in range(3):
            copy, _ = silent.accept()
            assert copy.recv(100).startswith(b"POST /silent HTTP/1.1\r\n")
            copy.close()
    assert [item["path"] for item in nginx.http[1].asked].count("/refusing") == 3


def test_copies_that_are_not_answered_do_not_use_nginx_up(feature: Load):
    with socket.create_server((f"{HERE}4", 8080), backlog=4096) as silent:
        nginx = feature("mirror", own={3, 4})
        nginx.http[1].reply = says(200, "")
        client = http.client.HTTPConnection("127.0.0.1", nginx.ports["http"], timeout=10)
        for _ in range(1050):
            client.request("GET", "/silent", headers={"Host": "shop.example"})
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
        client.close()
        copies = [silent.accept()[0] for _ in range(1000)]
        silent.settimeout(1)
        with pytest.raises(TimeoutError):
            silent.accept()
        for copy in copies:
            copy.close()


def test_what_becomes_a_websocket_is_not_copied(feature: Load):
    nginx = feature("mirror")
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    assert nginx.ask("/socket", **upgrade).asked["headers"]["upgrade"] == "websocket"
    nginx.ask("/the-last")
    copied(nginx.http[2], "/the-last")
    assert [item["path"] for item in nginx.http[2].asked] == ["/the-last"]


@pytest.mark.parametrize(
    ("name", "kinds"), [("mirror", "mirror|copies|copy"), ("external-auth", "auth")]
)
def test_locations_of_nginxs_own_can_not_be_asked_for(feature: Load, name: str, kinds: str):
    nginx = feature(name)
    text = "".join(path.read_text() for path in (GOLDEN / name / "nginx").iterdir())
    found = set(re.findall(rf"location = /?((?:{kinds})_[0-9a-f]+)", text))
    assert len(found) >= 2
    for place in found:
        with nginx.connect("http") as client:
            client.sendall(f"GET {place} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        assert nginx.ask(f"/{place}").asked["path"] == f"/{place}", "as any other path"


def test_no_backend_sends_a_client_to_locations_of_nginxs_own(feature: Load):
    nginx = feature("matched-traffic")
    text = "".join(
        path.read_text() for path in (GOLDEN / "matched-traffic/nginx").glob("listener*")
    )
    found = set(re.findall(r"location = ((?:auth|mirror)_[0-9a-f]+)", text))
    assert len(found) == 2
    for place in found:
        nginx.http[2].reply = says(200, "", {"X-Accel-Redirect": place})
        assert nginx.ask("/pages").status == 403
    assert nginx.http[3].asked == nginx.http[4].asked == []


def guard(handler: Echo, asked: dict[str, Any]) -> None:
    """Knows clients by a cookie."""
    cookie = asked["headers"].get("cookie", "")
    known, _, user = cookie.partition("=")
    match known:
        case "user":
            handler.say(200, "", {"X-User": user, "X-Edge": user, "X-Accel-Redirect": "/evil"})
        case "anonymous":
            handler.say(204, "")
        case "status":
            handler.say(int(user), "", {"Location": "/", "X-Accel-Redirect": "/pages"})
        case _:
            handler.say(401, "", {"WWW-Authenticate": 'Basic realm="shop"', "X-User": "root"})


def guarded(feature: Load, own: tuple[int, ...] = ()) -> Served:
    nginx = feature("external-auth", own=own)
    nginx.http[2].reply = guard
    return nginx


def test_who_another_service_knows_is_served_and_named_to_the_backends(feature: Load):
    nginx = guarded(feature)
    body = "0123456789" * 300_000
    asked = nginx.ask("/a?b=c", method="POST", body=body, Cookie="user=ann", X_User="root").asked
    assert (asked["path"], asked["body"]) == ("/a?b=c", body)
    assert asked["headers"]["x-user"] == "ann"
    copy = copied(nginx.http[5], "/a?b=c")
    assert (copy["headers"]["x-user"], copy["body"]) == ("ann", body)


def test_a_client_can_not_say_what_the_other_service_does_not(feature: Load):
    nginx = guarded(feature)
    for headers in (
        {"X_User": "root", "X_Groups": "admin"},
        {"x-user": "root", "X-GROUPS": "admin"},
    ):
        told = nginx.ask(Cookie="anonymous", **headers).asked["headers"]
        assert not {name for name in told if name in ("x-user", "x-groups")}
        told = nginx.ask(Cookie="user=ann", **headers).asked["headers"]
        assert (told["x-user"], told.get("x-groups")) == ("ann", None)


def test_the_other_service_is_told_of_the_request_and_gets_no_body(feature: Load):
    nginx = guarded(feature)
    names = ("Original_URI", "Original_URL", "Original_Method", "Forwarded_Uri", "Forwarded_Method")
    pretended = {f"X_{name}": "/pretended" for name in (*names, "Forwarded_Host", "Real_IP")}
    conditions = {"If_None_Match": '"x"', "If_Modified_Since": "x", "Range": "bytes=0-1"}
    nginx.ask("/a/../b?c=d", method="POST", body="secret", Cookie="user=ann", Authorization="x",
              **pretended, **conditions)  # fmt: skip
    [question] = nginx.http[2].asked
    assert (question["method"], question["path"], question["body"]) == ("GET", "/verify", "")
    assert question["headers"] == {
        "host": "shop.example", "x-real-ip": "127.0.0.1", "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "shop.example", "x-forwarded-proto": "http",
        "x-forwarded-method": "POST", "x-forwarded-uri": "/a/../b?c=d",
        "x-original-method": "POST", "x-original-uri": "/a/../b?c=d",
        "x-original-url": "http://shop.example/a/../b?c=d",
        "cookie": "user=ann", "authorization": "x", "accept-encoding": "identity",
    }  # fmt: skip


def test_the_other_service_is_told_of_named_headers_only(feature: Load):
    nginx = guarded(feature)
    headers = {"Cookie": "user=ann", "X_Api_Key": "k", "Authorization": "x", "X_User": "root"}
    assert nginx.ask("/pages", **headers).status == 200
    [question] = nginx.http[2].asked
    own = {name for name in question["headers"] if not name.startswith("x-forwarded-")}
    assert own == {
        "host", "x-real-ip", "x-original-method", "x-original-uri", "x-original-url", "cookie",
        "x-api-key",
    }  # fmt: skip


def test_who_the_other_service_refuses_reaches_nobody(feature: Load):
    nginx = guarded(feature)
    answer = nginx.ask(method="POST", body="x" * 100_000)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="shop"')
    # Any other answer is none to the question.
    expected = {401: 401, 403: 403, 300: 500, 302: 500, 304: 500, 404: 500, 429: 500, 503: 500}
    found = {status: nginx.ask(Cookie=f"status={status}").status for status in expected}
    assert found == expected
    assert nginx.http[1].asked == nginx.http[5].asked == []


def test_nobody_is_served_while_the_other_service_can_not_be_asked(feature: Load):
    with socket.create_server((f"{HERE}4", 8080)):
        nginx = guarded(feature, own=(3, 4))
        for path in ("/nobody", "/nobody/x", "/refused", "/silent", "/secure"):
            answer = nginx.ask(path, Cookie="user=ann")
            assert (path, answer.status) == (path, 500)
        assert nginx.http[1].asked == []


def test_browsers_ask_before_a_request_without_being_known(feature: Load):
    nginx = guarded(feature)
    question = {"Origin": "https://pages.example", "Access_Control_Request_Method": "POST"}
    answer = nginx.ask(method="OPTIONS", **question)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://pages.example"
    assert nginx.http[2].asked == []
    refused = nginx.ask(method="OPTIONS", Origin="https://pages.example")
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://pages.example"
    assert nginx.http[1].asked == []


def test_who_is_not_known_is_sent_to_sign_in(feature: Load):
    nginx = guarded(feature)
    answer = nginx.ask("/pages/a?b=c", method="POST", body="x")
    place = "https://login.example/start?rd=http://shop.example/pages/a?b=c"
    assert (answer.status, answer.headers["location"]) == (302, place)
    assert nginx.ask("/pages", Cookie="status=403").status == 403
    nginx.http[1].reply = says(401, "of the backend's own")
    assert nginx.ask("/pages", Cookie="user=ann").status == 401


def test_a_service_that_encrypts_is_believed_by_its_certificate(feature: Load):
    [secret] = [raw for raw in manifests("external-auth") if raw["kind"] == "Secret"]
    nginx = guarded(feature, own=(7,))
    place = (f"{HERE}7", 8443)
    backend = Backend("yes", kept(secret["stringData"]), place=place)
    assert nginx.ask("/secure").status == 200
    backend.stop()
    backend = Backend("yes", issued("secure.internal"), place=place)
    assert nginx.ask("/secure").status == 500
    backend.stop()


def test_grpc_clients_are_asked_for_too(feature: Load):
    server = greeter(port=50051, number=6, credentials=None)
    try:
        nginx = guarded(feature, own=(6,))
        with pytest.raises(grpc.RpcError) as refused:
            greeted(nginx)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert greeted(nginx, ("cookie", "user=ann"), ("x-edge", "root")) == b"hello from 6 ann"
    finally:
        server.stop(None)
