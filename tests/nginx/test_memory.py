"""The promised limits of agent and supervisor: 60 MB and 20 MB, also with a large bundle."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.encoding import encode
from nginx.agents import Agent
from nginx.large import large_bundle
from nginx.support import wait_for

AGENT_KB = 60_000
SUPERVISOR_KB = 20_000


def memory(pid: int) -> dict[str, int]:
    """Resident now, and at most so far, in kB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    figures = {words[0]: words[1] for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
    return {"now": int(figures["VmRSS:"]), "peak": int(figures["VmHWM:"])}


@pytest.mark.parametrize(("upstreams", "endpoints"), [(10, 3), (1000, 10)])
def test_memory_stays_within_its_limits(
    agent: Agent, port: int, upstreams: int, endpoints: int
) -> None:
    """Structure once, endpoints ten times, a refusal with its search, and a look at the metrics."""
    layout = agent.pod.layout
    for seed in range(10):
        bundle = large_bundle(
            upstreams=upstreams, endpoints=endpoints, port=port, seed=seed, layout=layout
        )
        agent.put(bundle)
        wait_for(agent.serves(bundle), seconds=30)
    listener = next(name for name in bundle.files if name.startswith("listener-"))
    broken = Bundle.of({**bundle.files, listener: f"{bundle.files[listener]}nonsense;\n"})
    agent.put(broken)
    assert agent.rejection()["files"] == [listener]
    assert agent.get("/metrics")[0] == 200
    assert agent.process
    assert agent.pod.process
    figures = {
        "agent": memory(agent.process.pid),
        "supervisor": memory(agent.pod.process.pid),
    }
    form = encode(bundle=bundle, revision=1).manifest.form
    print(f"{upstreams} x {endpoints} ({form}), kB: {figures}")
    assert figures["agent"]["now"] < AGENT_KB
    assert figures["supervisor"]["now"] < SUPERVISOR_KB


def test_what_a_very_large_bundle_took_is_given_back(agent: Agent, port: int) -> None:
    """A bundle in four shards: 6 MB of files."""
    small = large_bundle(upstreams=10, endpoints=3, port=port, layout=agent.pod.layout)
    filling = random.Random(1).randbytes(3_100_000).hex()
    for bundle in (small, Bundle.of({**small.files, "filling.conf": filling}), small):
        agent.put(bundle)
        wait_for(agent.serves(bundle), seconds=30)
    assert agent.process
    figures = memory(agent.process.pid)
    print(f"after four shards, kB: {figures}")
    assert figures["now"] < AGENT_KB
