"""No test may pass while a task of ours ends by a bug and begins anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from consul_nginx.metrics import TASK_CRASHES


def count() -> float:
    """Crashes of this process until now."""
    samples = (sample for metric in TASK_CRASHES.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


@pytest.fixture
def crashes() -> Callable[[], float]:
    """How many there were since the test began, for one that brings them about."""
    before = count()
    return lambda: count() - before


@pytest.fixture(autouse=True)
def no_crashes(request: pytest.FixtureRequest) -> Iterator[None]:
    before = count()
    yield
    assert "crashes" in request.fixturenames or count() == before, "a task ended: see the log"
