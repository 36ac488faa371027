from __future__ import annotations

from collections.abc import Iterator

import pytest

from nginx.support import Pod, free_port, pod_on_a_volume


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
