"""Fixtures of the unit tests."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import settings

from crashes import crashes, no_crashes  # noqa: F401 - pytest finds them here
from unit.certificates import home_made_ca

# No test has a limit of time, and Hypothesis' own of 200 ms is one.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def home_made(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA without key usage, and a server "api" without an authority key identifier."""
    return home_made_ca(tmp_path)
