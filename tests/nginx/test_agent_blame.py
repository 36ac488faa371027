"""A bundle that nginx refuses: which of its files are to blame, found beside a serving nginx."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consul_nginx.model.bundle import Bundle
from nginx.agents import Agent
from nginx.support import Pod, get, wait_for


@pytest.fixture
def watched(edge: Agent, port: int) -> Iterator[Agent]:
    """An nginx that somebody asks all the time: it must not notice anything."""
    answers: list[str | None] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(get(port))

    before = edge.status()
    client = threading.Thread(target=ask)
    client.start()
    yield edge
    stop.set()
    client.join()
    after = edge.status()
    assert set(answers) == {"one"}
    assert len(answers) > 10
    assert after["serving"]["hash"] == before["serving"]["hash"]
    assert after["nginx"]["master"] == before["nginx"]["master"]
    assert not (edge.pod.root / "trials").exists()


def with_files(pod: Pod, port: int, files: dict[str, str], **changes: str) -> Bundle:
    """The first bundle with more files, which its main file includes."""
    own = pod.files(port=port, **changes)
    includes = "".join(f"  include {name};\n" for name in files if name not in own)
    own["nginx.conf"] = own["nginx.conf"].replace(
        "  include http.conf;\n", f"  include http.conf;\n{includes}"
    )
    return Bundle.of({**own, **files})


def listeners(count: int, port: int) -> dict[str, str]:
    """Files of listeners beside the first one, on addresses of their own."""
    return {
        f"listener-{number:02}.conf": f"server {{ listen 127.0.0.{number + 10}:{port}; }}\n"
        for number in range(count)
    }


def test_one_of_many_is_found_by_its_name(watched: Agent, port: int) -> None:
    files = {
        **listeners(20, port),
        "listener-07.conf": "server { listen 127.0.0.17:80; nonsense; }",
    }
    watched.put(with_files(watched.pod, port, files))
    rejection = watched.rejection()
    assert (rejection["stage"], rejection["files"]) == ("test", ["listener-07.conf"])
    assert watched.metric("consul_nginx_agent_trials_total") == 1


def test_several_are_found_though_nginx_names_one_at_a_time(watched: Agent, port: int) -> None:
    files = listeners(12, port)
    for name in ("listener-03.conf", "listener-08.conf", "listener-11.conf"):
        files[name] = "nonsense;\n"
    watched.put(with_files(watched.pod, port, files))
    assert watched.rejection()["files"] == [
        "listener-03.conf", "listener-08.conf", "listener-11.conf",
    ]  # fmt: skip


def test_one_that_nginx_does_not_name_is_found(edge: Agent, port: int) -> None:
    """nginx notices an upstream without a server in the file that includes the empty one."""
    many = {f"endpoints-{number:02}.conf": "server 127.0.0.1:9;\n" for number in range(16)}
    upstreams = "".join(
        f"upstream u{number} {{ include endpoints-{number:02}.conf; }}\n" for number in range(16)
    )
    files = {**with_files(edge.pod, port, {"upstreams.conf": upstreams}).files, **many}
    good = Bundle.of(files)
    edge.put(good)
    wait_for(edge.serves(good))
    edge.put(
        Bundle.of(
            {
                **files,
                "endpoints-05.conf": "# none\n",
                "endpoints-06.conf": "server 127.0.0.1:10;\n",
            }
        )
    )
    rejection = edge.rejection()
    assert "no servers are inside upstream" in rejection["message"]
    # Only endpoints changed, so nginx -t was not asked: the reload refused it.
    assert (rejection["stage"], rejection["files"]) == ("reload", ["endpoints-05.conf"])
    assert edge.status()["serving"]["hash"] == good.hash


def test_two_that_clash_are_told_by_the_smaller_set(watched: Agent, port: int) -> None:
    clash = f"server {{ listen 127.0.0.10:{port} default_server; }}\n"
    files = {**listeners(6, port), "listener-00.conf": clash, "listener-04.conf": clash}
    watched.put(with_files(watched.pod, port, files))
    rejection = watched.rejection()
    assert f"a duplicate default server for 127.0.0.10:{port}" in rejection["message"]
    assert rejection["files"] == ["listener-04.conf"]


def test_a_main_file_is_blamed_when_there_is_a_good_one(watched: Agent, port: int) -> None:
    files = watched.pod.files(port=port)
    files["nginx.conf"] = f"nonsense;\n{files['nginx.conf']}"
    watched.put(Bundle.of(files))
    assert watched.rejection()["files"] == ["nginx.conf"]


def test_the_first_bundle_of_all_has_nothing_to_compare_with(agent: Agent, port: int) -> None:
    files = {**listeners(8, port), "listener-02.conf": "nonsense;\n"}
    agent.put(with_files(agent.pod, port, files))
    assert agent.rejection()["files"] == ["listener-02.conf"]
    assert agent.status()["serving"] is None
    assert agent.get("/readyz")[0] == 503
    files["listener-02.conf"] = ""
    agent.put(repaired := with_files(agent.pod, port, files))
    wait_for(agent.serves(repaired))


def test_a_taken_port_is_blamed_on_its_listener(watched: Agent, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = f"server {{ listen 127.0.0.1:{taken.getsockname()[1]}; }}\n"
        watched.put(
            with_files(watched.pod, port, {**listeners(3, port), "listener-in-use.conf": in_use})
        )
        rejection = watched.rejection()
        assert (rejection["stage"], rejection["files"]) == ("reload", ["listener-in-use.conf"])
        assert watched.metric("consul_nginx_agent_trials_total") == 0
        # Before the port is free again, or the agent will have it loaded.
        watched.put(watched.pod.bundle(port=port))
        wait_for(lambda: watched.status()["rejection"] is None)


def test_a_zone_with_another_key_is_blamed_on_its_file(watched: Agent, port: int) -> None:
    zone = "limit_req_zone ${} zone=z:1m rate=9r/s;\n"
    files = {"zones.conf": zone.format("binary_remote_addr"), **listeners(2, port)}
    watched.put(good := with_files(watched.pod, port, files))
    wait_for(watched.serves(good))
    watched.put(with_files(watched.pod, port, {**files, "zones.conf": zone.format("request_uri")}))
    rejection = watched.rejection()
    assert (rejection["stage"], rejection["files"]) == ("reload", ["zones.conf"])
    watched.put(watched.pod.bundle(port=port))
    wait_for(watched.serves(watched.pod.bundle(port=port)))


def test_a_newer_bundle_does_not_wait_for_the_search(edge: Agent, port: int) -> None:
    """Every trial fails here, one after the other, until something better comes."""
    slow = {f"listener-{number:02}.conf": f"nonsense{number};\n" for number in range(300)}
    edge.put(with_files(edge.pod, port, slow))
    wait_for(lambda: (edge.metric("consul_nginx_agent_trials_total") or 0) > 2)
    assert edge.status()["rejection"]["files"] is None
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))
    assert edge.metric("consul_nginx_agent_trials_total") < 40


def test_a_search_is_bounded_and_then_blames_nobody(edge: Agent, port: int) -> None:
    slow = {f"listener-{number:03}.conf": f"nonsense{number};\n" for number in range(100)}
    edge.put(with_files(edge.pod, port, slow))
    assert edge.rejection()["files"] == []
    assert edge.metric("consul_nginx_agent_trials_total") <= 40
    assert edge.metric('consul_nginx_agent_bisections_total{result="not found"}') == 1


def test_a_trial_is_never_what_a_restarted_supervisor_starts(edge: Agent, port: int) -> None:
    slow = {f"listener-{number:03}.conf": f"nonsense{number};\n" for number in range(100)}
    before = edge.status()["serving"]["hash"]
    edge.put(with_files(edge.pod, port, slow))
    wait_for(lambda: (edge.metric("consul_nginx_agent_trials_total") or 0) > 2)
    edge.pod.stop()
    edge.pod.start()
    wait_for(lambda: edge.pod.status()["hash"])
    assert edge.pod.status()["hash"] == before
    assert edge.rejection()["files"] == []


def test_a_dead_master_comes_before_a_trial(edge: Agent, port: int) -> None:
    slow = {f"listener-{number:03}.conf": f"nonsense{number};\n" for number in range(100)}
    edge.put(with_files(edge.pod, port, slow))
    wait_for(lambda: (edge.metric("consul_nginx_agent_trials_total") or 0) > 2)
    os.kill(edge.pod.status()["master"], signal.SIGKILL)
    wait_for(lambda: edge.pod.status()["restarts"] == 1 and edge.pod.status()["hash"], seconds=2)
    assert get(port) == "one"


# the supervisor alone


def trial(pod: Pod, bundle: Bundle) -> Path:
    folder = pod.root / "trials" / bundle.hash
    folder.mkdir(parents=True)
    for name, text in bundle.files.items():
        (folder / name).write_text(text)
    return folder


def test_a_trial_is_tested_and_nothing_else(serving: Pod, port: int) -> None:
    before = serving.status()
    good, bad = (serving.bundle(port=port, text="two", http=more) for more in ("", "nonsense;"))
    for bundle in (good, bad):
        trial(serving, bundle)
    assert serving.ask({"op": "test", "hash": good.hash}) == {"ok": True, "hash": good.hash}
    answer = serving.ask({"op": "test", "hash": bad.hash})
    assert (answer["ok"], answer["stage"]) == (False, "test")
    assert 'unknown directive "nonsense"' in answer["output"]
    assert "there is no bundle" in serving.ask({"op": "load", "hash": good.hash})["error"]
    assert "there is no bundle" in serving.ask({"op": "test", "hash": before["hash"]})["error"]
    assert serving.status() == before
    assert get(port) == "one"
    assert "nonsense" not in serving.log.read_text()
