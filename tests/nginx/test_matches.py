"""Requests of one host and path that go different ways, in the real nginx."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consul_nginx.model.consul import Observation, ServiceQuery
from consul_nginx.model.mapping import ServiceMapping
from nginx.served import Served, loaded, says, served
from nginx.support import Pod, free_port, wait_for
from nginx.test_features import greeter, speaks_websocket, upgrade
from unit.factories import instance, load_balancer, mapping, planned
from unit.requests import REQUESTS, Request, competitors, taker

Load = Callable[..., Served]


@pytest.fixture
def feature(pod: Pod) -> Iterator[Load]:
    """Loads a golden folder into nginx."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(served(pod, name))


def test_the_first_whose_path_and_match_hold_takes_a_request(feature: Load):
    nginx = feature("matches")
    beta = {"X_Beta": "yes"}
    quoted = {**beta, "X_Quoted": 'a "quote", a \\ and $host;'}
    expected = [
        (4, nginx.backend("/shop")),
        (4, nginx.backend("/shop/x")),
        (4, nginx.backend("/")),
        (1, nginx.backend("/shop", method="POST", body="x")),
        (1, nginx.backend("/shop/x", method="PUT", body="x", **beta)),
        (2, nginx.backend("/shop", **beta)),
        (2, nginx.backend("/shop/x?version=v2", **beta)),
        (3, nginx.backend("/shop/x?a=b&version=v2")),
        (7, nginx.backend("/shop/x?version=v%202", method="POST", body="x", **quoted)),
    ]
    assert [found for _, found in expected] == [wanted for wanted, _ in expected]


def test_a_value_is_compared_whole_with_its_case_and_as_it_comes(feature: Load):
    nginx = feature("matches")
    for value in ("Yes", "yess", "ye", "", "yes, yes", "1"):
        assert nginx.backend("/shop", X_Beta=value) == 4, value
    for query in (
        "version=v22",
        "version=V2",
        "version=",
        "version",
        "version=v%32",
        "aversion=v2",
    ):
        assert nginx.backend(f"/shop?{query}") == 4, query
    assert nginx.backend("/shop?VERSION=v2") == 3, "of a name nginx compares no case"
    assert nginx.backend("/shop?version=v2&version=x") == 3, "the first counts"
    assert nginx.backend("/shop?version=x&version=v2") == 4
    assert nginx.backend("/shop", X_Beta="yes ") == 2, "spaces around it are nobody's"


def test_several_headers_of_one_name_are_one_value(feature: Load):
    nginx = feature("matches")
    with nginx.connect("http") as client:
        client.sendall(
            b"GET /shop/7 HTTP/1.0\r\nHost: shop.example\r\n"
            b"User-Agent: a\r\nUser-Agent: Tablet\r\n\r\n"
        )
        assert b'"backend": 5' in client.makefile("rb").read()


def test_what_fits_none_goes_on_to_the_next_weaker_path(feature: Load):
    nginx = feature("matches")
    mobile = {"User_Agent": "A Mobile one"}
    expected = [
        # An expression, then a weaker one, then prefixes.
        (5, nginx.backend("/shop/2", **mobile)),
        (5, nginx.backend("/shop/1", **mobile)),
        (6, nginx.backend("/shop/1")),
        (6, nginx.backend("/shop/1x", **mobile)),
        (4, nginx.backend("/shop/2")),
        (2, nginx.backend("/shop/2", X_Beta="yes")),
        # An exact path.
        (4, nginx.backend("/shop/cart")),
        (1, nginx.backend("/shop/cart", method="POST", body="x")),
        # A longer prefix.
        (4, nginx.backend("/shop/old")),
        (2, nginx.backend("/shop/old/x?go=0", X_Beta="yes")),
    ]
    assert [found for _, found in expected] == [wanted for wanted, _ in expected]
    refused = nginx.ask("/shop/cart", method="DELETE", X_Beta="yes")
    assert (refused.status, refused.text) == (403, "the cart stays\n")
    moved = [nginx.ask(f"{path}?go=1") for path in ("/shop/old", "/shop/old/x")]
    assert {answer.status for answer in moved} == {301}
    assert {answer.headers["location"] for answer in moved} == {"http://shop.example/new"}


def test_what_nobody_takes_is_answered_404(feature: Load):
    nginx = feature("matches")
    assert nginx.backend(host="closed.example", X_Key="open") == 4
    answer = nginx.ask(host="closed.example")
    assert (answer.status, answer.text) == (404, "no mapping for this path\n")
    assert nginx.ask(method="POST", body="x" * 100_000, host="closed.example").status == 404


def test_a_chosen_route_gets_the_body_and_the_uri_as_they_came(feature: Load):
    nginx = feature("matches")
    asked = nginx.ask("/shop/a%20b%2Fc?x=%20", method="POST", body="x" * 300_000).asked
    assert (asked["backend"], asked["method"]) == (1, "POST")
    assert asked["path"] == "/shop/a%20b%2Fc?x=%20"
    assert asked["body"] == "x" * 300_000
    with nginx.connect("http") as client:
        client.sendall(
            b"POST /shop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 100 Continue")
    assert b'"backend": 1' in answer
    assert b"hello" in answer
    assert nginx.ask("/shop", method="POST", body="x" * (1 << 20)).status == 200
    assert nginx.ask("/shop", method="POST", body="x" * ((1 << 20) + 1)).status == 413


def test_backends_see_another_prefix_whoever_is_asked(feature: Load):
    nginx, new = feature("matched-traffic"), {"X_Version": "2"}
    paths = ("", "/", "/x?y=1", "/a%20b/%2Fc%3Fd%25", "/x%0Ay", "/%C3%A9", "/a+b&c=d")
    found = {path: nginx.ask(f"/api{path}", **new).asked for path in paths}
    assert {asked["backend"] for asked in found.values()} == {1}
    assert {path: asked["path"] for path, asked in found.items()} == {
        "": "/v2", "/": "/v2/", "/x?y=1": "/v2/x?y=1", "/a%20b/%2Fc%3Fd%25": "/v2/a%20b/c%3Fd%25",
        "/x%0Ay": "/v2/x%0Ay", "/%C3%A9": "/v2/%C3%A9", "/a+b&c=d": "/v2/a+b&c=d",
    }  # fmt: skip
    for path in ("/files", "/files/x"):
        asked = nginx.ask(f"/api{path}").asked
        assert (asked["backend"], asked["path"]) == (2, path), "the weaker path's own prefix"


def test_a_prefix_is_replaced_as_where_no_other_shares_the_path(pod: Pod):
    paths = ("", "/", "/x", "/a%20b/%2F%3F%25", "/x%0Ay", "/%C3%A9?q=%20", "/;v=1,2/~x", "/x?")
    found = []
    for name in ("matched-traffic", "replaced-prefix"):
        with served(pod, name) as nginx:
            found.append([nginx.ask(f"/api{path}").asked["path"] for path in paths])
    assert found[0] == found[1]
    assert found[0][:3] == ["/", "/", "/x"]


def test_bodies_are_bounded_by_the_route_that_is_chosen(feature: Load):
    nginx, new = feature("matched-traffic"), {"X_Version": "2"}
    sent = {"method": "POST", "body": "x" * 2049}
    assert nginx.ask("/api", **sent).status == 200
    assert nginx.ask("/api", **sent, **new).status == 413
    assert nginx.ask("/api", method="POST", body="x" * 2048, **new).status == 200
    assert nginx.ask("/api/files/x", method="POST", body="x" * (2 << 20)).status == 200
    assert nginx.ask("/api/files/x", method="PUT", body="x" * (2 << 20)).status == 413
    with nginx.connect("http") as client:
        client.sendall(
            b"POST /api HTTP/1.1\r\nHost: x\r\nX-Version: 2\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n900\r\n" + b"x" * 0x900 + b"\r\n0\r\n\r\n"
        )
        assert client.makefile("rb").readline().split()[1] == b"413"


def test_answers_of_a_chosen_route_are_changed_as_it_says(feature: Load):
    nginx = feature("matched-traffic")
    for backend in nginx.http.values():
        backend.reply = says(200, "text " * 100, {"Content-Type": "text/plain"})
    for version, encoding in (("2", "gzip"), ("1", None)):
        connection = http.client.HTTPConnection("127.0.0.1", nginx.ports["http"], timeout=5)
        headers = {"Accept-Encoding": "gzip", "X-Version": version}
        connection.request("GET", "/api/x", headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.getheader("Content-Encoding") == encoding
        assert (gzip.decompress(text) if encoding else text) == b"text " * 100
        assert answer.getheader("X-Served-By") == ("new" if encoding else None)


def test_another_service_and_a_mirror_are_asked_for_the_route_that_is_chosen(feature: Load):
    nginx, new = feature("matched-traffic"), {"X_Version": "2"}
    nginx.http[3].reply = says(401, "who?")
    answer = nginx.ask("/members/a?b=c", **new)
    place = "https://login.example/start?rd=http://shop.example/members/a?b=c"
    assert (answer.status, answer.headers["location"]) == (302, place)
    assert nginx.http[1].asked == nginx.http[4].asked == []

    nginx.http[3].reply = says(200, "", {"X-User": "ann"})
    asked = nginx.ask("/members/a", method="POST", body="text", X_User="eve", **new).asked
    assert (asked["backend"], asked["headers"]["x-user"], asked["body"]) == (1, "ann", "text")
    [copy] = wait_for(lambda: nginx.http[4].asked, why="the mirror gets a copy")
    assert (copy["path"], copy["headers"]["x-user"], copy["body"]) == ("/members/a", "ann", "text")


def test_only_those_are_let_in_and_counted_whom_the_chosen_route_means(feature: Load):
    nginx = feature("matched-traffic")
    assert nginx.ask("/api/admin", X_Version="2").status == 403
    assert nginx.ask("/api/admin").asked["backend"] == 2
    statuses = [nginx.ask("/api/login", method="POST", body="x").status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert {nginx.ask("/api/login").status for _ in range(4)} == {200}


def test_websocket_goes_to_the_chosen_route(feature: Load):
    nginx = feature("matched-traffic")
    nginx.http[1].reply = speaks_websocket
    assert upgrade(nginx, "/chat", "websocket") == b"heard hello\n"
    assert b" 404 " in upgrade(nginx, "/chat", "h2c")


def test_a_browser_asks_and_is_answered_by_the_route_of_its_request(feature: Load):
    nginx = feature("matched-traffic")

    def asks(method: str, headers: str) -> tuple[int, str | None]:
        answer = nginx.ask(
            "/pages/x",
            method="OPTIONS",
            Origin="https://shop.example",
            Access_Control_Request_Method=method,
            Access_Control_Request_Headers=headers,
        )
        return answer.status, answer.headers.get("access-control-allow-origin")

    for headers in ("x-tenant", "content-type,x-tenant", "X-Tenant, Content-Type"):
        assert asks("PUT", headers) == (204, "https://shop.example"), headers
    assert asks("POST", "x-tenant") == (200, None)
    assert asks("PUT", "x-tenants,not-x-tenant") == (200, None)
    sent = nginx.ask("/pages/x", method="PUT", Origin="https://shop.example", X_Tenant="acme")
    assert sent.headers["access-control-allow-origin"] == "https://shop.example"
    assert nginx.backend("/pages/x", method="OPTIONS", X_Tenant="acme") == 2, "no question before"
    no_question = {"Access_Control_Request_Headers": "x-tenant"}
    assert nginx.backend("/pages/x", method="OPTIONS", **no_question) == 2
    assert nginx.backend("/pages/x", **no_question) == 2


def test_real_nginx_sends_requests_where_the_docs_say(pod: Pod):
    port = free_port()
    edge = load_balancer(listeners=[{"name": "http", "port": port}])

    @settings(max_examples=15, deadline=None, database=None)
    @given(
        mappings=competitors(),
        requests=st.lists(REQUESTS, min_size=20, max_size=40),
    )
    def check(mappings: list[ServiceMapping], requests: list[Request]) -> None:
        configuration = planned(load_balancer=edge, mappings=mappings, snapshot={}).configuration
        with loaded(pod, configuration, ports={"http": port}) as nginx:
            for request in requests:
                query = "&".join("=".join(pair) for pair in request.parameters)
                answer = nginx.ask(
                    f"{request.path}?{query}", method=request.method, **dict(request.headers)
                )
                found = answer.text if answer.status == 200 else None
                assert found == taker(mappings, request), request

    check()


def test_many_routes_of_one_path_are_loaded_and_found(pod: Pod):
    """Each has a header of its own; nginx asks for them in groups of sixty-four."""
    port = free_port()
    mappings = [
        mapping(
            f"tenant-{number}",
            path={"value": f"/{number % 3}" if number % 3 else "/"},
            match={"headers": [{"name": f"X-Tenant-{number}", "value": f"t{number}"}]},
            backends=[],
            fixedResponse={"body": f"{number}"},
        )
        for number in range(900)
    ]
    configuration = planned(
        load_balancer=load_balancer(listeners=[{"name": "http", "port": port}]),
        mappings=mappings,
        snapshot={},
    ).configuration
    with loaded(pod, configuration, ports={"http": port}) as nginx:
        for number in (0, 3, 450, 898, 899):
            asked = {f"x_tenant_{number}": f"t{number}"}
            path = f"/{number % 3}" if number % 3 else "/1/x"
            assert nginx.ask(path, **asked).text == f"{number}"
        assert nginx.ask("/1", x_tenant_7="t8").status == 404
    assert "could not build optimal" not in nginx.log()


def test_no_weaker_route_takes_what_an_expression_gives_up(pod: Pod):
    port, back_and_forth = free_port(), "b" * 6000
    value = {"type": "RegularExpression", "value": ".*b.*c"}
    answers = {"backends": [], "fixedResponse": {"body": "closed"}}
    asks = {"headers": [{"name": "X-Any", **value}]}
    mappings = [
        mapping("stronger", path={"type": "RegularExpression", "value": "/docs/.*d?d?d?"},
                match={"methods": ["POST"]}, backends=[], fixedResponse={"body": "stronger"}),
        mapping("path", path={"type": "RegularExpression", "value": "/.*b.*c"}, **answers),
        mapping("header", path={"value": "/header"}, match=asks, **answers),
        mapping("query", path={"value": "/query"}, **answers,
                match={"methods": ["GET"], "queryParameters": [{"name": "any", **value}]}),
        mapping("cors", path={"value": "/cors"}, match=asks, backends=[{"service": "web"}],
                cors={"allowOrigins": ["*"]}),
        mapping("open", backends=[], fixedResponse={"body": "open"}),
    ]  # fmt: skip
    configuration = planned(
        load_balancer=load_balancer(listeners=[{"name": "http", "port": port}]),
        mappings=mappings,
        snapshot={ServiceQuery(service="web"): Observation(instances=(instance("10.244.0.1"),))},
    ).configuration
    with loaded(pod, configuration, ports={"http": port}) as nginx:
        for path, x_any, wanted in (
            ("/docs/bc", "", (200, "closed")),
            ("/docs/b", "", (200, "open")),
            ("/docs/{}", "", 500),
            ("/header", "bc", (200, "closed")),
            ("/header", "b", (200, "open")),
            ("/header", "{}", 500),
            ("/query?any=bc", "", (200, "closed")),
            ("/query?any=b", "", (200, "open")),
            ("/query?any={}", "", 500),
            ("/cors", "b", (200, "open")),
            ("/cors", "{}", 500),
        ):
            asked = path.format(back_and_forth), x_any.format(back_and_forth)
            answer = nginx.ask(asked[0], x_any=asked[1])
            found = answer.status if wanted == 500 else (answer.status, answer.text)
            assert found == wanted, (path, x_any)
        assert nginx.ask(f"/query?any={back_and_forth}", method="PUT").text == "open"


def test_a_client_behind_a_proxy_is_known_to_the_chosen_route(pod: Pod):
    port = free_port()
    real_ip = {"trustedSources": ["127.0.0.0/8"], "header": "X-Forwarded-For"}
    configuration = planned(
        load_balancer=load_balancer(
            listeners=[{"name": "http", "port": port, "realIp": real_ip}],
        ),
        mappings=[
            mapping(
                backends=[{"service": "web"}],
                match={"methods": ["GET"]},
                accessControl={"allow": ["203.0.113.7"]},
            )
        ],
        snapshot={ServiceQuery(service="web"): Observation(instances=(instance("10.244.0.1"),))},
    ).configuration
    with loaded(pod, configuration, ports={"http": port}) as nginx:
        asked = nginx.ask(X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="https").asked
        assert asked["headers"]["x-real-ip"] == "203.0.113.7"
        assert asked["headers"]["x-forwarded-proto"] == "https"
        assert asked["headers"]["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
        assert nginx.ask(X_Forwarded_For="203.0.113.8").status == 403


def test_grpc_goes_to_the_chosen_route(pod: Pod):
    port = free_port()
    mappings = [
        mapping(
            name,
            path={"value": "/shop.Greeter"},
            match=match,
            backends=[{"service": name}],
            backendProtocol="GRPC",
            requestHeaders={"set": [{"name": "X-Edge", "value": name}]},
        )
        for name, match in (("new", {"headers": [{"name": "X-Beta", "value": "1"}]}), ("old", {}))
    ]
    seen = Observation(instances=(instance("10.244.0.1", 50051),))
    configuration = planned(
        load_balancer=load_balancer(listeners=[{"name": "http", "port": port, "http2": True}]),
        mappings=mappings,
        snapshot={ServiceQuery(service=name): seen for name in ("new", "old")},
    ).configuration
    server = greeter(port=50051, number=1, credentials=None)
    try:
        with (
            loaded(pod, configuration, ports={"http": port}, own=frozenset({1})),
            grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            greet = channel.unary_unary("/shop.Greeter/Greet")
            assert greet(b"hello", timeout=10, metadata=[("x-beta", "1")]) == b"hello from 1 new"
            assert greet(b"hello", timeout=10) == b"hello from 1 old"
    finally:
        server.stop(None)
