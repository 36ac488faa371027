from __future__ import annotations

from collections.abc import Iterator

import pytest

from nginx.agents import Agent
from nginx.api import fake_api
from nginx.support import Pod, free_port, pod_on_a_volume, wait_for


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def stopped() -> Iterator[Pod]:
    """A pod whose supervisor is not started yet."""
    with pod_on_a_volume("--verify-timeout", "5") as pod:
        yield pod


@pytest.fixture
def pod(stopped: Pod) -> Pod:
    """A pod whose supervisor waits for its first load."""
    stopped.start()
    return stopped


@pytest.fixture
def serving(pod: Pod, port: int) -> Pod:
    """A pod that serves its first bundle, the text "one" on ``port``."""
    assert pod.load(pod.bundle(port=port))["ok"]
    return pod


@pytest.fixture
def agent(pod: Pod) -> Iterator[Agent]:
    """Agent and supervisor run; there is no ConfigMap yet."""
    with fake_api() as api:
        agent = Agent(pod=pod, api=api)
        agent.start()
        yield agent
        if agent.process and agent.process.poll() is None:
            agent.process.kill()
            agent.process.wait()


@pytest.fixture
def edge(agent: Agent, port: int) -> Agent:
    """nginx serves the first bundle."""
    bundle = agent.pod.bundle(port=port)
    agent.put(bundle)
    wait_for(agent.serves(bundle))
    return agent
