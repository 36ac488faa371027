"""The supervisor with a real nginx, driven over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest

from consul_nginx.agent.supervisor import processes
from consul_nginx.model.bundle import Bundle
from nginx.support import Pod, free_port, get, wait_for

A_HASH = "0" * 64


def active_workers(pod: Pod) -> list[int]:
    return [worker["pid"] for worker in pod.status()["workers"] if not worker["shutting_down"]]


# loading


def test_first_load_starts_nginx(pod: Pod, port: int) -> None:
    assert pod.status() == {
        "ok": True, "hash": None, "master": None, "workers": [], "reloads": 0, "restarts": 0,
    }  # fmt: skip
    bundle = pod.bundle(port=port)
    assert pod.load(bundle) == {"ok": True, "hash": bundle.hash}
    assert get(port) == "one"
    status = pod.status()
    assert (status["hash"], status["reloads"], len(status["workers"])) == (bundle.hash, 0, 2)
    assert pod.current() == bundle.hash


def test_a_load_is_answered_when_only_new_workers_take_connections(serving: Pod, port: int) -> None:
    before = active_workers(serving)
    two = serving.bundle(port=port, text="two")
    assert serving.load(two) == {"ok": True, "hash": two.hash}
    assert {get(port) for _ in range(50)} == {"two"}
    assert not set(before) & set(active_workers(serving))
    assert {worker["generation"] for worker in serving.status()["workers"]} >= {2}


def test_older_workers_drain_by_our_word_before_the_masters(serving: Pod, port: int) -> None:
    """It leaves them 100 ms more, in which the kernel hands them most of the new connections."""
    files = serving.files(port=port, text="two")
    files["nginx.conf"] = files["nginx.conf"].replace("stderr warn", "stderr notice")
    two, three = Bundle.of(files), serving.bundle(port=port, text="three")
    assert serving.load(two)["ok"]
    older = active_workers(serving)
    assert serving.load(three)["ok"]
    assert serving.process
    told = f": signal 3 (SIGQUIT) received from {serving.process.pid}"
    said = serving.log.read_text()
    assert all(f" {pid}#{pid}{told}" in said for pid in older)


def test_endpoints_change_without_a_test(serving: Pod, port: int) -> None:
    changed = serving.bundle(port=port, backend=10)
    assert changed.structure == serving.bundle(port=port).structure
    assert serving.load(changed, test=False)["ok"]
    assert serving.status()["reloads"] == 1


def test_the_bundle_that_runs_is_not_loaded_again(serving: Pod, port: int) -> None:
    assert serving.load(serving.bundle(port=port))["ok"]
    assert serving.status()["reloads"] == 0


def test_loads_come_one_after_the_other_and_status_in_between(serving: Pod, port: int) -> None:
    two, three = (serving.bundle(port=port, text=text) for text in ("two", "three"))
    for bundle in (two, three):
        serving.unpack(bundle)
    with serving.connect() as first, serving.connect() as second:
        first.sendall(f'{{"op": "load", "hash": "{two.hash}"}}\n'.encode())
        second.sendall(f'{{"op": "load", "hash": "{three.hash}"}}\n'.encode())
        started = time.monotonic()
        serving.status()
        assert time.monotonic() - started < 0.1
        assert serving.answer(first) == {"ok": True, "hash": two.hash}
        assert serving.answer(second) == {"ok": True, "hash": three.hash}
    assert get(port) == "three"


# refusals


def test_a_bundle_that_fails_its_test_changes_nothing(serving: Pod, port: int) -> None:
    one, workers = serving.current(), active_workers(serving)
    broken = serving.bundle(port=port, http="nonsense on;")
    answer = serving.load(broken)
    assert (answer["ok"], answer["stage"], answer["hash"]) == (False, "test", broken.hash)
    assert answer["output"].startswith('nginx: [emerg] unknown directive "nonsense" in ')
    assert answer["output"].endswith("/http.conf:1")
    assert (serving.current(), active_workers(serving), get(port)) == (one, workers, "one")


def test_untested_nonsense_is_noticed_by_the_reload(serving: Pod, port: int) -> None:
    one, started = serving.current(), time.monotonic()
    answer = serving.load(serving.bundle(port=port, http="nonsense on;"), test=False)
    assert time.monotonic() - started < 1, "noticed by the time-out only"
    assert (answer["ok"], answer["stage"]) == (False, "reload")
    assert 'unknown directive "nonsense"' in answer["output"]
    assert (serving.current(), serving.status()["hash"], get(port)) == (one, one, "one")


def test_a_zone_with_another_key_passes_the_test_and_fails_the_reload(
    serving: Pod, port: int
) -> None:
    zone = "limit_req_zone ${key} zone=z:1m rate=9r/s;"
    first = serving.bundle(port=port, http=zone.format(key="binary_remote_addr"))
    second = serving.bundle(port=port, text="two", http=zone.format(key="request_uri"))
    assert serving.load(first)["ok"]
    answer = serving.load(second)
    assert (answer["ok"], answer["stage"]) == (False, "reload")
    assert 'limit_req "z" uses the "$request_uri" key' in answer["output"]
    assert (serving.current(), serving.status()["hash"], get(port)) == (
        first.hash,
        first.hash,
        "one",
    )
    assert serving.load(serving.bundle(port=port, text="three"))["ok"]


def test_a_port_in_use_fails_the_reload_after_nginx_has_tried_again(
    serving: Pod, port: int
) -> None:
    one = serving.current()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        two = serving.bundle(port=taken.getsockname()[1])
        answer = serving.load(two)
        assert (answer["ok"], answer["stage"]) == (False, "reload")
        assert "failed (98: Address already in use)" in answer["output"]
        assert len(answer["output"].splitlines()) == 2, "each line once"
        assert (serving.current(), get(port)) == (one, "one")
    assert serving.load(two)["ok"]


def test_a_port_that_is_freed_in_time_is_taken(serving: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving.connect() as client:
        two = serving.bundle(port=taken.getsockname()[1], text="two")
        client.sendall(f'{{"op": "load", "hash": "{serving.unpack(two)}"}}\n'.encode())
        wait_for(lambda: "Address already in use" in serving.log.read_text())
        taken.close()
        assert serving.answer(client)["ok"]


def test_a_start_that_fails_keeps_trying(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bundle = pod.bundle(port=taken.getsockname()[1])
        answer = pod.load(bundle)
        assert (answer["ok"], answer["stage"]) == (False, "start")
        assert "Address already in use" in answer["output"]
        assert pod.status()["hash"] is None
    wait_for(lambda: pod.status()["hash"] == bundle.hash, why="nginx on the freed port")


def test_a_bundle_that_never_answers_its_hash_is_taken_back(serving: Pod, port: int) -> None:
    one = serving.current()
    files = serving.files(port=port, text="two")
    files["nginx.conf"] = files["nginx.conf"].replace("include hash.conf", 'return 200 "other"')
    answer = serving.load(type(serving.bundle(port=port)).of(files))
    assert (answer["ok"], answer["stage"]) == (False, "verify")
    assert "nginx answers the hash other" in answer["output"]
    assert (serving.current(), serving.status()["hash"], get(port)) == (one, one, "one")


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b"hello\n", "not JSON"),
        (b"[]\n", "op is none of"),
        (b"[" * 50_000 + b"\n", "not JSON"),
        (b'{"op": "quit"}\n', "op is none of"),
        (b'{"op": "load"}\n', "hash is not"),
        (b'{"op": "load", "hash": "../../etc"}\n', "hash is not"),
        (f'{{"op": "load", "hash": "{A_HASH}\\n"}}\n'.encode(), "hash is not"),
        (f'{{"op": "load", "hash": "{A_HASH}", "test": 1}}\n'.encode(), "test is neither"),
        (f'{{"op": "load", "hash": "{A_HASH}"}}\n'.encode(), "there is no bundle"),
        (b'{"op": "test", "hash": ".."}\n', "hash is not"),
        (f'{{"op": "test", "hash": "{A_HASH}"}}\n'.encode(), "there is no bundle"),
    ],
)
def test_malformed_requests_are_answered(pod: Pod, request_line: bytes, error: str) -> None:
    answer = pod.ask(request_line)
    assert not answer["ok"]
    assert error in answer["error"]


def test_requests_on_one_connection_are_answered_in_order(serving: Pod, port: int) -> None:
    two = serving.bundle(port=port, text="two")
    serving.unpack(two)
    with serving.connect() as client, client.makefile("rb") as lines:
        client.sendall(
            f'{{"op": "load", "hash": "{two.hash}"}}\nnonsense\n'.encode()
            + b'{"op": "status"}\n' * 1000
        )
        answers = [lines.readline() for _ in range(1002)]
    assert two.hash.encode() in answers[0]
    assert b"error" in answers[1]
    assert all(b"workers" in line for line in answers[2:])


def test_an_endless_line_is_not_kept(pod: Pod) -> None:
    with pod.connect() as client, pytest.raises(ConnectionError):
        client.sendall(b"x" * 10_000_000)
    assert pod.status()["ok"]


# starting, healing, stopping


def test_starts_on_the_newest_bundle_that_passes(stopped: Pod, port: int) -> None:
    stopped.unpack(stopped.bundle(port=port, text="oldest"), age=30)
    stopped.unpack(stopped.bundle(port=port, text="newer"), age=20)
    stopped.unpack(stopped.bundle(port=port, http="nonsense;"), age=10)
    (stopped.root / "generated" / f"{A_HASH}.tmp-1").mkdir()
    stopped.start()
    wait_for(lambda: stopped.status()["hash"])
    assert get(port) == "newer"


def test_stale_sockets_and_pid_file_are_no_obstacle(stopped: Pod, port: int) -> None:
    own = Path(stopped.layout.nginx)
    own.mkdir()
    for name in ("status.sock", "unavailable.sock", "supervisor.sock"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(own / name))
    Path(stopped.layout.pid_file).write_text("1\n")
    stopped.start()
    assert stopped.load(stopped.bundle(port=port))["ok"]
    assert not (own / "unavailable.sock").exists()


def test_the_group_may_use_the_socket_and_nobody_else(pod: Pod) -> None:
    modes = [
        stat.S_IMODE(os.stat(path).st_mode)
        for path in (pod.layout.supervisor_socket, pod.layout.nginx)
    ]
    assert modes == [0o660, 0o2750]


def test_a_killed_master_is_replaced_within_two_seconds(serving: Pod, port: int) -> None:
    before = serving.status()
    os.kill(before["master"], signal.SIGKILL)
    started = time.monotonic()
    after = wait_for(lambda: (status := serving.status())["restarts"] and status["hash"] and status)
    took = time.monotonic() - started
    assert took < 2
    assert (after["hash"], after["restarts"]) == (before["hash"], 1)
    assert after["master"] != before["master"]
    assert get(port) == "one"
    gone = [worker["pid"] for worker in before["workers"]]
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in gone), why="orphans")


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
def test_a_killed_supervisor_takes_nginx_along_and_its_successor_serves(
    stopped: Pod, port: int
) -> None:
    """As in a container, where it is PID 1: nothing is left, and nothing left is in the way."""
    stopped.start(namespace=True)
    assert stopped.load(stopped.bundle(port=port))["ok"]
    assert stopped.process
    [supervisor] = processes._children(stopped.process.pid)
    assert get(port) == "one"
    os.kill(supervisor, signal.SIGKILL)
    stopped.process.wait(5)
    assert get(port) is None
    stopped.start(namespace=True)
    wait_for(lambda: stopped.status()["hash"])
    assert (stopped.current(), get(port)) == (stopped.bundle(port=port).hash, "one")
    assert stopped.status()["master"] < 100, "in a namespace of its own"


def test_after_a_restart_the_last_good_is_served_when_the_newest_can_not_be(
    serving: Pod, port: int
) -> None:
    one = serving.current()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = serving.load(serving.bundle(port=taken.getsockname()[1]))
        assert (answer["ok"], answer["stage"]) == (False, "reload")
        assert serving.stop() == 0
        serving.start()
        wait_for(lambda: serving.status()["hash"] == one)
        assert get(port) == "one"


def test_a_stuck_orphan_cannot_keep_the_port(serving: Pod, port: int) -> None:
    before = serving.status()
    for worker in before["workers"]:
        os.kill(worker["pid"], signal.SIGSTOP)
    os.kill(before["master"], signal.SIGKILL)
    wait_for(lambda: get(port, timeout=0.5) == "one", seconds=4)


def test_orphans_finish_their_requests(serving: Pod, port: int, slow_backend: SlowBackend) -> None:
    assert serving.load(serving.bundle(port=port, backend=slow_backend.port))["ok"]
    answers: list[str | None] = []
    request = threading.Thread(target=lambda: answers.append(get(port, "/slow", timeout=20)))
    request.start()
    wait_for(lambda: slow_backend.waiting)
    os.kill(serving.status()["master"], signal.SIGKILL)
    wait_for(lambda: (status := serving.status())["restarts"] and status["hash"])
    slow_backend.release.set()
    request.join()
    assert answers == ["slow"]


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_a_stop_drains(
    serving: Pod, port: int, slow_backend: SlowBackend, number: signal.Signals
) -> None:
    assert serving.load(serving.bundle(port=port, backend=slow_backend.port))["ok"]
    answers: list[str | None] = []
    request = threading.Thread(target=lambda: answers.append(get(port, "/slow", timeout=20)))
    request.start()
    wait_for(lambda: slow_backend.waiting)
    assert serving.process
    serving.process.send_signal(number)
    wait_for(lambda: get(port) is None, why="closed port")
    assert serving.process.poll() is None
    slow_backend.release.set()
    request.join()
    assert answers == ["slow"]
    assert serving.process.wait(5) == 0
    assert not os.path.exists(serving.layout.supervisor_socket)


def test_a_second_term_does_not_wait(serving: Pod, port: int, slow_backend: SlowBackend) -> None:
    assert serving.load(serving.bundle(port=port, backend=slow_backend.port))["ok"]
    threading.Thread(target=get, args=(port, "/slow")).start()
    wait_for(lambda: slow_backend.waiting)
    assert serving.process
    serving.process.send_signal(signal.SIGTERM)
    wait_for(lambda: get(port) is None)
    assert serving.stop() == 0


def test_stops_without_nginx_too(pod: Pod) -> None:
    assert pod.stop() == 0


def test_a_load_under_way_is_refused_by_a_stop(serving: Pod, port: int) -> None:
    two = serving.bundle(port=port, text="two")
    serving.unpack(two)
    with serving.connect() as client:
        client.sendall(f'{{"op": "load", "hash": "{two.hash}"}}\n'.encode())
        wait_for(lambda: serving.current() == two.hash)
        assert serving.process
        serving.process.send_signal(signal.SIGTERM)
        answer = serving.answer(client)
    assert answer["ok"] or answer["error"] == "nginx is being stopped"
    assert serving.process.wait(10) == 0


def test_no_nginx_is_said_in_one_line(stopped: Pod) -> None:
    stopped.binary = "/no/such/nginx"
    with pytest.raises(AssertionError):
        stopped.start()
    assert stopped.process
    assert stopped.process.wait(1) == 1
    assert "there is no nginx at /no/such/nginx" in stopped.log.read_text()


# under load


async def test_keepalive_clients_see_no_failure_in_twenty_reloads(serving: Pod, port: int) -> None:
    done, failures = 0, []
    stop = asyncio.Event()

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while not stop.is_set():
            try:
                async with session.get(f"http://127.0.0.1:{port}/text") as answer:
                    assert answer.status == 200
                    await answer.read()
                    done += 1
            except (aiohttp.ClientError, AssertionError) as error:
                failures.append(repr(error))

    # aiohttp retries idempotent requests on reused connections: that would hide what we look for.
    async with aiohttp.ClientSession() as session:
        session._retry_connection = False
        clients = [asyncio.create_task(client(session)) for _ in range(16)]
        for round_number in range(20):
            bundle = serving.bundle(port=port, text=f"round {round_number}")
            answer = await asyncio.to_thread(serving.load, bundle)
            assert answer["ok"], answer
        stop.set()
        await asyncio.gather(*clients)
    assert failures == []
    assert done > 1000


# measuring


def test_memory_stays_small(serving: Pod, port: int) -> None:
    took = []
    for number in range(100):
        started = time.perf_counter()
        bundle = serving.bundle(port=port, backend=1000 + number)
        assert serving.load(bundle, test=False)["ok"]
        took.append(time.perf_counter() - started)
    assert serving.process
    rss = resident(serving.process.pid)
    print(f"supervisor RSS {rss} kB after 100 loads; load median {sorted(took)[50] * 1000:.0f} ms")
    assert rss < 20_000
    fds = os.listdir(f"/proc/{serving.process.pid}/fd")
    assert len(fds) < 20


def resident(pid: int) -> int:
    line = next(s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in s)
    return int(line.split()[1])


class SlowBackend:
    """An HTTP server that answers ``/slow`` when it is told to."""

    def __init__(self) -> None:
        self.waiting = 0
        self.release = threading.Event()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.waiting += 1
                backend.release.wait(20)
                with contextlib.suppress(ConnectionError):  # nobody waits any more
                    self.send_response(200)
                    self.send_header("Content-Length", "4")
                    self.end_headers()
                    self.wfile.write(b"slow")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def slow_backend() -> object:
    backend = SlowBackend()
    yield backend
    backend.release.set()
    backend.server.shutdown()
