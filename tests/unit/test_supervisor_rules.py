"""The supervisor's pure halves: nginx's words, processes, requests."""

from __future__ import annotations

import json
import os

import pytest

from consul_nginx.agent.supervisor import modules, words
from consul_nginx.agent.supervisor.nginx import pause
from consul_nginx.agent.supervisor.probe import hash_of_answer
from consul_nginx.agent.supervisor.processes import (
    Worker,
    parent_of_stat,
    worker_of_title,
    workers_of,
)
from consul_nginx.agent.supervisor.protocol import Load, RequestError, Status, Trial, parse

HASH = "0123456789abcdef" * 4
UNKNOWN = '2026/11/22 07:00:00 [emerg] 12#12: unknown directive "x" in /run/a/http.conf:1'
IN_USE = "2026/11/22 07:00:00 [emerg] 12#12: bind() to 0.0.0.0:80 failed (98: Address in use)"
GAVE_UP = "2026/11/22 07:00:02 [emerg] 12#12: still could not bind()"


@pytest.mark.parametrize(
    ("line", "final"),
    [
        (UNKNOWN, True),
        (GAVE_UP, True),
        ("nginx: [emerg] host not found", True),
        ("2026/11/22 07:00:00 [emerg] 1#1: bind() to 0.0.0.0:80 failed (13: Denied)", True),
        (IN_USE, False),
        (
            "2026/11/22 07:00:00 [emerg] 1#1: listen() to 0.0.0.0:80, backlog 511 failed (98: x",
            False,
        ),
    ],
)
def test_emergencies(line: str, final: bool) -> None:
    found = words.emergency(line)
    assert found
    assert found.final is final
    assert found.text.startswith("nginx: [emerg] ")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2026/11/22 07:00:00 [error] 12#12: *1 connect() failed",
        '2026/11/22 07:00:00 [error] 12#12: *1 client sent "nginx: [emerg] x"',
        "nginx: the configuration file nginx.conf syntax is ok",
    ],
)
def test_other_lines_are_no_emergencies(line: str) -> None:
    assert words.emergency(line) is None


def test_the_process_that_spoke_is_known() -> None:
    found = words.emergency(UNKNOWN)
    assert found
    assert found.pid == 12


def test_quotes_hold_each_emergency_once_and_without_date() -> None:
    again = IN_USE.replace("07:00:00", "07:00:01")
    assert words.quote(["noise", IN_USE, again, GAVE_UP]).splitlines() == [
        "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address in use)",
        "nginx: [emerg] still could not bind()",
    ]


def test_quotes_fall_back_to_the_last_lines() -> None:
    assert words.quote([str(number) for number in range(9)]) == "4\n5\n6\n7\n8"


def test_quotes_are_bounded_in_bytes() -> None:
    assert len(words.quote(["nginx: [emerg] " + "ü" * 5000]).encode()) <= words.LIMIT


@pytest.mark.parametrize(
    ("title", "worker"),
    [
        (b"nginx: worker process\0", Worker(pid=7, shutting_down=False)),
        (
            b"/lib/ld.so\0--library-path\0x\0nginx: worker process",
            Worker(pid=7, shutting_down=False),
        ),
        (b"nginx: worker process is shutting down\0", Worker(pid=7, shutting_down=True)),
        (b"nginx: master process nginx -c x\0", None),
        (b"nginx: cache manager process\0", None),
        (b"", None),
    ],
)
def test_workers_by_title(title: bytes, worker: Worker | None) -> None:
    assert worker_of_title(pid=7, title=title) == worker


def test_the_parent_behind_a_hostile_name() -> None:
    assert parent_of_stat(b"7 (a) S 1 (b) R 42 7 7 0") == 42


def test_a_process_that_is_gone_has_no_workers() -> None:
    assert workers_of(2**22 + 1) == []
    assert workers_of(os.getpid()) == []


def test_requests() -> None:
    assert parse(b'{"op": "status"}') == Status()
    assert parse(json.dumps({"op": "test", "hash": HASH}).encode()) == Trial(hash=HASH)
    request = json.dumps({"op": "load", "hash": HASH})
    assert parse(request.encode()) == Load(hash=HASH, test=True)
    assert parse(request.replace("}", ', "test": false}').encode()) == Load(hash=HASH, test=False)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"null",
        b'{"op": ["load"]}',
        b'{"op": "load", "hash": null}',
        json.dumps({"op": "load", "hash": HASH.upper()}).encode(),
        json.dumps({"op": "load", "hash": HASH + "\n"}).encode(),
        json.dumps({"op": "load", "hash": "../" + HASH}).encode(),
        json.dumps({"op": "test", "hash": "../" + HASH}).encode(),
        json.dumps({"op": "load", "hash": HASH, "test": None}).encode(),
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(RequestError):
        parse(line)


DEBIAN = "configure arguments: --with-cc-opt='-g -O2' {} --with-stream=dynamic --with-threads\n"


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (DEBIAN.format("--modules-path=/usr/lib/nginx/modules"), "/usr/lib/nginx/modules/{}"),
        (DEBIAN.format("--prefix=/usr/share/nginx"), "/usr/share/nginx/modules/{}"),
        (DEBIAN.format(""), "/usr/local/nginx/modules/{}"),
    ],
)
def test_a_dynamic_stream_module_is_loaded_from_where_nginx_has_it(build: str, file: str) -> None:
    file = file.format("ngx_stream_module.so")
    assert modules.directives(build, exists={file}.__contains__) == f"load_module {file};"
    assert modules.directives(build, exists=lambda _: False) == ""


@pytest.mark.parametrize(
    "build", ["", "configure arguments: --modules-path=/m --with-stream --with-stream_ssl_module\n"]
)
def test_a_built_in_stream_module_is_not_loaded(build: str) -> None:
    assert modules.directives(build, exists=lambda _: True) == ""


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\nabc", "abc"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nabc", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"", None),
    ],
)
def test_answers_to_the_hash_query(answer: bytes, found: str | None) -> None:
    assert hash_of_answer(answer) == found


def test_pauses_grow_with_what_was_waited() -> None:
    waits = [pause(waited=waited) for waited in (0, 0.01, 0.1, 10)]
    assert waits == pytest.approx([0.002, 0.002, 0.01, 0.05])
