"""Hostile values that are accepted, in the real nginx: it loads them, and takes them literally."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.consul import Instance, Observation
from consul_nginx.model.variables import HEADER_VARIABLES, STREAM_VARIABLES, VARIABLES
from consul_nginx.nginx.render import render
from nginx.support import Pod, wait_for
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
    # nginx's words come by way of the supervisor.
    wait_for(lambda: "pcre2_match() failed" in pod.log.read_text(), why="nginx says why")
    assert ask("/" + "a" * 200 + "x")[1] == "matched"


LITERAL = "a\"b'c\\d\\n%s {}; } evil { # ~!@^&*()[]<>|?,.:=+-_`\\"
DOLLARS = "$$ $$host $${x} $$"


@pytest.mark.parametrize(
    "body",
    [
        LITERAL,
        "$ $host ${x} $",
        "line\n\ttab\n",
        "$" * 900,
        '"' * 900,
        "\\" * 900,
        "\\n\\t\\\\",
        "",
    ],
)
def test_a_body_is_sent_as_it_is_written(load, ask, body):
    load(**fixed(body=body))
    assert ask()[1] == body


@pytest.mark.parametrize("value", [LITERAL, DOLLARS, "$$" * 256, '"' * 512, "\\" * 512])
def test_a_header_says_what_is_written_to_backends_and_to_clients(load, ask, value):
    header = {"set": [{"name": "X-Said", "value": value}]}
    load(requestHeaders=header, responseHeaders=header)
    head, body = ask()
    line = f"X-Said: {value.replace('$$', '$')}"
    assert line in head.split("\r\n")
    assert line in body.split("\n")


@pytest.mark.parametrize("name", ["$remote_user", "$uri"])
def test_a_client_puts_no_header_of_its_own_into_one_with_a_variable(load, ask, name):
    """nginx decodes some variables; they can't be used (model/variables.py)."""
    with pytest.raises(AssertionError, match="is no variable that can be used"):
        load(requestHeaders={"set": [{"name": "X-Said", "value": name}]})


@pytest.mark.parametrize("number", range(2))
def test_no_line_break_of_a_client_gets_into_a_header(load, ask, number):
    names = sorted(HEADER_VARIABLES)[number::2]
    header = {
        "set": [{"name": f"X-Said-{n}", "value": f"<${name}>"} for n, name in enumerate(names)]
    }
    load(requestHeaders=header, responseHeaders=header)
    credentials = base64.b64encode(b"a\r\nX-Evil: 1\r\n:b").decode()
    head, body = ask(
        "/%0d%0aX-Evil:%201%0d%0a?a=%0d%0aX-Evil:%201",
        f"Authorization: Basic {credentials}",
        "X-Forwarded-For: %0d%0aX-Evil: 1",
        "Referer: %0d%0aX-Evil: 1",
    )
    assert head.startswith("HTTP/1.1 200 ")
    assert "\nX-Evil" not in head + body
    assert head.count("\r\nX-Said-") == len(names)


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (f"{LITERAL} $status", f"{LITERAL} 200"),
        ("$$status $$ $status", "$status $ 200"),
        ("escape=none", "escape=none"),
        ("escape=json $http_user_agent", r"escape=json \x22\x5C"),
        ("$$" * 500, "$" * 500),
        ('"' * 1000, '"' * 1000),
        ("\\" * 1000, "\\" * 1000),
    ],
)
def test_a_log_says_what_its_template_says(load, ask, pod, template, line):
    load({"accessLog": {"format": "own", "template": template}}, **fixed())
    ask("/", 'User-Agent: "\\')
    wait_for(lambda: line in pod.log.read_text().split("\n"), why=pod.log.read_text()[-3000:])


def test_every_variable_that_logs_may_have_is_one_of_nginxs(load, ask):
    template = " ".join(f"${name}" for name in sorted(VARIABLES))
    load({"accessLog": {"format": "own", "template": template[:1000]}})
    load({"accessLog": {"format": "own", "template": template[-500:].partition(" ")[2]}})
    template = " ".join(f"${name}" for name in sorted(STREAM_VARIABLES))
    load({"protocol": "TCP", "accessLog": {"format": "own", "template": template}})


def test_the_longest_origins_load_and_are_found(load, ask):
    name = ".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 59])
    load(cors={"allowOrigins": [f"https://{name}", f"https://*.{name[2:]}"]})
    head, _ = ask("/", f"Origin: https://{name}")
    assert f"access-control-allow-origin: https://{name}" in head.split("\r\n")


@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
def test_the_longest_and_most_names_of_headers_and_media_types_load(load, protocol):
    """nginx keeps them in hash tables whose buckets are narrow."""
    headers = {
        "set": [{"name": f"S{n:02}-{'x' * 42}", "value": "x"} for n in range(32)],
        "remove": [f"R{n:02}-{'x' * 42}" for n in range(32)],
    }
    load(
        backendProtocol=protocol,
        requestHeaders=headers,
        responseHeaders=headers,
        gzip={"types": [f"a/{'x' * 42}{n:02}" for n in range(32)]},
        externalAuth={
            "backends": [{"service": "auth"}],
            "requestHeaders": [f"T{n:02}-{'x' * 42}" for n in range(32)],
            "responseHeaders": [f"A{n:02}-{'x' * 42}" for n in range(16)],
            "signInUrl": f"https://login.example/{'x' * 490}",
        },
    )


def test_the_highest_limits_load(load):
    """With one connection more, nginx would refuse the whole listener."""
    load(limits={"connections": 65_535, "requests": {"rate": 100_000, "burst": 100_000}})


def test_a_redirect_leads_to_the_host_that_it_names_whatever_is_asked_for(load, ask):
    load(backends=[], redirect={"scheme": "https", "hostname": "own.example"})
    for path in ("//evil.example/", "/@evil.example", "/%0d%0aX-Evil:%201", "/\\evil.example"):
        head, _ = ask(path)
        assert f"Location: https://own.example{path}" in head.split("\r\n")
        assert "\nX-Evil" not in head


def test_each_header_that_is_set_is_in_the_answer_once(load, ask):
    names = ["Content-Type", "Location", "ETag", "Last-Modified", "Cache-Control", "X-Own"]
    load(responseHeaders={"set": [{"name": name, "value": "own"} for name in names]})
    head, _ = ask()
    found = [line.partition(":")[0] for line in head.split("\r\n")]
    assert {name: found.count(name) for name in names} == dict.fromkeys(names, 1)


def test_a_cookie_with_a_dash_would_not_be_seen_by_nginx(load):
    with pytest.raises(AssertionError, match="a dash in its name"):
        load(
            balancing={
                "algorithm": "ConsistentHash",
                "hashKey": {"type": "Cookie", "name": "session-id"},
            }
        )


MATCH_VALUES = [
    '"; evil on; "', "\\", "\\\\", '\\"', "$host", "${host}", "$", "}", "{", ";", "#", "~", "~*a",
    "'", "default", "hostnames", "volatile", "include /etc/passwd", "(?i)a", "(*ACCEPT)", ".*",
    "^", "a|b", "[[:alpha:]]", "\\d", "\\Q", "a{1000}", "@nobody", "0", "1", "x" * 512, "$" * 512,
    "\\" * 512,
]  # fmt: skip


@pytest.mark.parametrize("value", MATCH_VALUES, ids=lambda value: value[:20])
def test_a_value_of_a_match_is_compared_literally(load, ask, value):
    headers = [{"name": "X-A", "value": value}]
    load(match={"headers": headers}, **fixed(body="matched"))
    assert ask("/", f"X-A: {value}")[1] == "matched"
    for other in (f"{value}x", f"x{value}", value.upper() + "a", value[:-1] + "z", "d", "a"):
        assert "404" in ask("/", f"X-A: {other}")[0].split(), other
    if not set(value) & set(" #"):
        parameters = [{"name": "a_1", "value": value}]
        load(match={"queryParameters": parameters}, **fixed(body="matched"))
        assert ask(f"/?b=c&a_1={value}&d")[1] == "matched"
        assert "404" in ask(f"/?a_1=x{value}")[0].split()


@pytest.mark.parametrize(
    ("expression", "value", "status"),
    [
        (".*.*x", "a" * 7000, "500"),
        ("(?:.*|.*)(?:.*|.*)x", "a" * 7000, "500"),
        ("(?:" + "[ab]" * 9 + "){100}", "ab" * 3500, "404"),
        (r'[\[\]{}()|.*+?^$\\/"-]+1', "a" * 7000, "404"),
    ],
)
def test_an_expression_for_a_value_is_compiled_and_given_up_in_time(
    load, ask, expression, value, status
):
    """Nobody else takes a request of which nginx does not know whose it is."""
    headers = [{"name": "X-A", "type": "RegularExpression", "value": expression}]
    load(match={"headers": headers}, **fixed(body="matched"))
    assert ask("/", f"X-A: {value}")[0].split()[1] == status


def test_the_longest_and_most_of_a_match_load(load, ask):
    headers = [{"name": f"{number:x}".ljust(64, "h"), "value": "$" * 512} for number in range(16)]
    parameters = [{"name": f"{number:x}".ljust(64, "p"), "value": "v"} for number in range(16)]
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    match = {"methods": methods, "headers": headers, "queryParameters": parameters}
    load(match=match, **fixed(body="matched"))
    query = "&".join(f"{item['name']}=v" for item in parameters)
    sent = [f"{item['name']}: {item['value']}" for item in headers]
    assert ask(f"/?{query}", *sent)[1] == "matched"
