"""Options of the whole test suite."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does: 200 ms is the default.
settings.register_profile("without time limits", deadline=None)
settings.load_profile("without time limits")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden folders are rewritten on purpose only."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden folders from what is rendered"
    )
