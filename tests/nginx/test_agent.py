"""The real agent's process between an API server of ours and the real supervisor with nginx."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consul_nginx.model.bundle import Form
from consul_nginx.model.encoding import Content, encode
from nginx.agents import REVISIONS, Agent
from nginx.api import fake_api
from nginx.support import Pod, get, wait_for


def test_from_a_watch_event_to_traffic(agent: Agent, port: int) -> None:
    assert agent.status() == {
        "configMap": "edge-config", "serving": None, "seen": None, "rejection": None,
        "nginx": {"master": None, "workers": 0, "shuttingDown": 0, "reloads": 0, "restarts": 0},
    } or agent.status()["nginx"] is None  # fmt: skip
    assert [agent.get(path)[0] for path in ("/startedz", "/readyz")] == [503, 503]
    bundle = agent.pod.bundle(port=port)
    wait_for(lambda: agent.api.watches)
    revision = agent.put(bundle)
    wait_for(agent.serves(bundle))
    assert get(port) == "one"
    status = agent.status()
    assert status["serving"]["revision"] == status["seen"]["revision"] == revision
    assert status["serving"]["since"].endswith("Z")
    assert status["rejection"] is None
    assert (status["nginx"]["workers"], status["nginx"]["reloads"]) == (2, 0)
    assert [agent.get(path)[0] for path in ("/startedz", "/readyz")] == [200, 200]


def test_endpoints_go_without_a_test_and_structure_with_one(edge: Agent, port: int) -> None:
    edge.put(changed := edge.pod.bundle(port=port, backend=10))
    wait_for(edge.serves(changed))
    edge.put(changed := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(changed))
    assert get(port) == "two"
    name = "consul_nginx_agent_reloads_total"
    assert edge.metric(f'{name}{{reason="endpoints",result="success"}}') == 1
    assert edge.metric(f'{name}{{reason="structure",result="success"}}') == 1
    assert edge.metric(f'{name}{{reason="start",result="success"}}') == 1
    assert edge.pod.log.read_text().count("test is successful") == 2


def test_a_new_revision_of_equal_bytes_is_no_reload(edge: Agent, port: int) -> None:
    revision = edge.put(edge.pod.bundle(port=port))
    wait_for(lambda: edge.status()["serving"]["revision"] == revision)
    assert edge.status()["nginx"]["reloads"] == 0


def test_the_newest_wins_of_many(edge: Agent, port: int) -> None:
    for number in range(30):
        last = edge.pod.bundle(port=port, text=f"number {number}")
        edge.put(last)
    wait_for(edge.serves(last))
    assert get(port) == "number 29"
    assert edge.status()["nginx"]["reloads"] <= 3


def test_a_bundle_that_nginx_refuses_is_reported_with_its_file(edge: Agent, port: int) -> None:
    before = edge.status()["serving"]
    broken = edge.pod.bundle(port=port, http="nonsense on;")
    revision = edge.put(broken)
    rejection = edge.rejection()
    assert (rejection["hash"], rejection["revision"]) == (broken.hash, revision)
    assert (rejection["stage"], rejection["files"]) == ("test", ["http.conf"])
    assert rejection["message"].startswith('nginx: [emerg] unknown directive "nonsense"')
    assert edge.status()["serving"] == before
    assert edge.get("/readyz")[0] == 200
    assert edge.metric("consul_nginx_agent_trials_total") == 1
    assert edge.metric('consul_nginx_agent_bisections_total{result="found"}') == 1
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))
    assert edge.status()["rejection"] is None


def test_a_port_in_use_is_tried_again_until_it_is_free(edge: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        edge.put(bundle := edge.pod.bundle(port=taken.getsockname()[1]))
        assert edge.rejection()["stage"] == "reload"
    wait_for(edge.serves(bundle), seconds=15)
    assert edge.status()["rejection"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"http.conf": None}, "lists 'http.conf', which is missing"),
        ({"http.conf": "server {}\n"}, "the files' hash is"),
        ({"manifest.json": None}, "manifest.json is missing"),
        ({"manifest.json": "{"}, "manifest.json is not JSON"),
        ({"manifest.json": "[" * 100_000}, ""),
        ({"manifest.json": "[]"}, "manifest.json: format is not 1"),
        ({"http.conf": "\ud800"}, "http.conf is not ASCII"),
    ],
)
def test_a_configmap_edited_by_hand_is_rejected(
    edge: Agent, port: int, change: dict[str, str | None], words: str
) -> None:
    encoded = encode(bundle=edge.pod.bundle(port=port, text="two"), revision=next(REVISIONS))
    changed = {**encoded.main.data, **change}
    edge.api.put(Content(data={key: text for key, text in changed.items() if text is not None}))
    rejection = edge.rejection()
    assert rejection["stage"] == "decode"
    assert words in rejection["message"]
    assert get(port) == "one"
    # nginx going on with what it runs does not make the newest ConfigMap good.
    assert edge.status()["rejection"] == rejection


def test_a_file_name_can_not_leave_the_bundle(edge: Agent, port: int) -> None:
    encoded = encode(bundle=edge.pod.bundle(port=port, text="two"), revision=next(REVISIONS))
    data = encoded.main.data
    manifest = json.loads(data["manifest.json"])
    manifest["files"].append("../x.conf")
    changed = {**data, "manifest.json": json.dumps(manifest), "../x.conf": "evil"}
    edge.api.put(Content(data=changed))
    rejection = edge.rejection()
    assert rejection["stage"] == "decode"
    assert "'../x.conf' is not a bundle file name" in rejection["message"]
    assert (rejection["hash"], rejection["revision"]) == (manifest["hash"], manifest["revision"])
    assert not list(edge.pod.root.rglob("x.conf"))


def test_a_deleted_configmap_changes_nothing(edge: Agent, port: int) -> None:
    edge.api.delete()
    wait_for(lambda: "the ConfigMap is not there" in edge.log.read_text())
    assert get(port) == "one"
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))


def test_a_restarted_agent_reloads_nothing(edge: Agent, port: int) -> None:
    before = edge.status()
    assert edge.stop() == 0
    assert get(port) == "one"
    edge.start()
    wait_for(lambda: edge.status()["seen"])
    wait_for(lambda: edge.status()["serving"])
    after = edge.status()
    assert (after["serving"], after["seen"]) == (before["serving"], before["seen"])
    assert after["nginx"]["reloads"] == 0
    assert edge.metric("consul_nginx_agent_reloads_total{") is None


def test_a_killed_agent_is_not_missed_by_nginx_and_its_successor_reloads_nothing(
    edge: Agent, port: int
) -> None:
    assert edge.process
    edge.process.kill()
    edge.process.wait()
    assert get(port) == "one"
    left = edge.pod.root / "trials" / ("a" * 64)
    left.mkdir(parents=True)
    edge.start()
    wait_for(lambda: edge.status()["serving"])
    assert edge.status()["nginx"]["reloads"] == 0
    assert not left.exists()
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))


def test_a_restarted_agent_without_api_still_tells_what_runs(edge: Agent) -> None:
    before = edge.status()["serving"]
    edge.stop()
    edge.api.fail = 500
    edge.start()
    wait_for(lambda: edge.status()["serving"])
    assert edge.status()["serving"] == before
    assert [edge.get(path)[0] for path in ("/startedz", "/readyz")] == [200, 200]


def test_a_restarted_supervisor_serves_again(edge: Agent, port: int) -> None:
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))
    edge.pod.stop()
    wait_for(lambda: edge.get("/readyz")[0] == 503)
    assert edge.status()["nginx"] is None
    edge.pod.start()
    wait_for(edge.serves(two))
    assert get(port) == "two"
    assert edge.status()["nginx"]["reloads"] == 0


def test_what_came_while_the_supervisor_was_away_is_loaded(edge: Agent, port: int) -> None:
    edge.pod.stop()
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(lambda: edge.status()["seen"]["hash"] == two.hash)
    edge.pod.start()
    wait_for(edge.serves(two))
    assert get(port) == "two"


def test_a_killed_master_is_told(edge: Agent) -> None:
    os.kill(edge.status()["nginx"]["master"], signal.SIGKILL)
    wait_for(lambda: (edge.status()["nginx"] or {}).get("restarts") == 1)
    wait_for(lambda: edge.get("/readyz")[0] == 200)
    assert edge.metric("consul_nginx_agent_nginx_restarts_total") == 1


def test_the_last_good_bundles_are_kept_and_no_others(edge: Agent, port: int) -> None:
    generated = edge.pod.root / "generated"
    (generated / f"{'a' * 64}.tmp-1").mkdir()
    (generated / ("b" * 64)).mkdir()
    served = []
    for number in range(5):
        edge.put(bundle := edge.pod.bundle(port=port, backend=100 + number))
        wait_for(edge.serves(bundle))
        served.append(bundle.hash)
    wait_for(lambda: {path.name for path in generated.iterdir()} == set(served[-3:]))
    edge.put(broken := edge.pod.bundle(port=port, http="nonsense;"))
    edge.rejection()
    expected = {*served[-3:], broken.hash}
    wait_for(lambda: {path.name for path in generated.iterdir()} == expected)


def test_bundles_are_for_the_group_and_nobody_else(edge: Agent) -> None:
    folder = edge.pod.root / "generated" / edge.status()["serving"]["hash"]
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.conf")} == {0o640}


# list and watch


def test_gone_is_answered_with_a_list(edge: Agent, port: int) -> None:
    wait_for(lambda: edge.api.watches)
    edge.api.send({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))
    assert edge.metric('consul_nginx_agent_watch_errors_total{kind="gone"}') == 1


def test_the_resource_version_is_carried_on(edge: Agent) -> None:
    wait_for(lambda: edge.api.watches)
    bookmark = {"kind": "ConfigMap", "metadata": {"resourceVersion": "4711"}}
    edge.api.send({"type": "BOOKMARK", "object": bookmark})
    edge.api.hang_up()
    query, _ = wait_for(
        lambda: next((r for r in edge.api.requests if "4711" in r[0].values()), None)
    )
    assert query["allowWatchBookmarks"] == "true"
    assert int(query["timeoutSeconds"]) <= 150


def test_the_token_is_read_again(edge: Agent) -> None:
    (edge.account / "token").write_text("second-token")
    wait_for(lambda: edge.api.watches)
    edge.api.send({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
    wait_for(lambda: edge.api.requests[-1][1] == "Bearer second-token")
    assert edge.api.requests[0][1] == "Bearer first-token"


def test_api_errors_are_survived(edge: Agent, port: int) -> None:
    edge.api.fail = 503
    edge.api.hang_up()
    wait_for(lambda: (edge.metric('consul_nginx_agent_watch_errors_total{kind="error"}') or 0) > 2)
    edge.api.fail = None
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two), seconds=15)


def filling(size: int, *, seed: int = 1) -> str:
    """A comment that compresses to about ``size`` bytes."""
    text = random.Random(seed).randbytes(size).hex()
    return "".join(f"# {text[at : at + 90]}\n" for at in range(0, len(text), 90))


@pytest.mark.parametrize(
    ("size", "form"),
    [(20_000, Form.PLAIN), (400_000, Form.COMPRESSED), (1_500_000, Form.SHARDED)],
)
def test_every_form_of_a_bundle_is_loaded(edge: Agent, port: int, size: int, form: Form) -> None:
    wait_for(lambda: edge.api.watches)
    large = edge.pod.bundle(port=port, text="large", http=filling(size))
    assert edge.write(large).manifest.form is form
    wait_for(edge.serves(large))
    assert get(port) == "large"
    edge.put(small := edge.pod.bundle(port=port, text="small"))
    wait_for(edge.serves(small))


def test_shards_of_another_revision_are_never_loaded_and_read_again(edge: Agent, port: int) -> None:
    one, two = (
        edge.pod.bundle(port=port, text=text, http=filling(1_200_000, seed=seed))
        for seed, text in enumerate(("one again", "two"))
    )
    others = encode(bundle=two, revision=next(REVISIONS)).shards
    before = edge.status()["serving"]
    encoded = encode(bundle=one, revision=next(REVISIONS))
    edge.api.put_shard(1, encoded.shards[1])
    edge.api.put_shard(2, others[2])
    edge.api.put(encoded.main)
    rejection = edge.rejection()
    assert (rejection["stage"], rejection["hash"]) == ("decode", one.hash)
    assert "shard 2 has the SHA-256" in rejection["message"]
    assert (edge.status()["serving"], get(port)) == (before, "one")
    edge.api.put_shard(2, encoded.shards[2])
    wait_for(edge.serves(one))
    assert get(port) == "one again"
    assert edge.metric('consul_nginx_agent_rejected_bundles_total{stage="decode"}') == 1


def test_a_shard_that_can_not_be_read_is_told(edge: Agent, port: int) -> None:
    encoded = encode(
        bundle=edge.pod.bundle(port=port, http=filling(1_200_000)), revision=next(REVISIONS)
    )
    edge.api.put(encoded.main)
    assert edge.rejection()["message"] == "shard 1 is missing"
    edge.api.fail = 403
    wait_for(lambda: "the API server says 403" in edge.rejection()["message"])
    # A newer revision does not wait for the older one.
    edge.api.fail = None
    edge.put(two := edge.pod.bundle(port=port, text="two"))
    wait_for(edge.serves(two))
    assert edge.status()["rejection"] is None


# the process


def test_wrong_settings_are_said_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "consul_nginx.agent"], env={}, capture_output=True, timeout=20
    )
    assert ended.returncode == 1
    assert ended.stdout.count(b"\n") == 1
    assert b"CONFIGMAP_NAME is not set" in ended.stdout
    assert ended.stderr == b""


def test_a_port_in_use_is_said_in_one_line(pod: Pod) -> None:
    with fake_api() as api, socket.create_server(("", 0)) as taken:
        agent = Agent(pod=pod, api=api)
        agent.port = taken.getsockname()[1]
        with pytest.raises(AssertionError):
            agent.start()
        assert agent.process
        assert agent.process.wait(1) == 1
        assert agent.log.read_text().count("\n") == 1
        assert "address already in use" in agent.log.read_text()


def test_memory_and_latency_over_a_hundred_loads(edge: Agent, port: int) -> None:
    took = []
    for number in range(100):
        bundle = edge.pod.bundle(port=port, backend=1000 + number)
        started = time.perf_counter()
        edge.put(bundle)
        wait_for(edge.serves(bundle))
        took.append(time.perf_counter() - started)
    edge.get("/metrics")
    assert edge.process
    assert edge.pod.process
    agent, supervisor = resident(edge.process.pid), resident(edge.pod.process.pid)
    print(f"agent RSS {agent} kB, supervisor RSS {supervisor} kB after 100 loads")
    print(
        f"ConfigMap written to serving in /status: median {statistics.median(took) * 1000:.0f} ms"
    )
    assert agent < 60_000
    assert supervisor < 20_000
    assert edge.status()["nginx"]["reloads"] == 100


def resident(pid: int) -> int:
    line = next(s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in s)
    return int(line.split()[1])
