"""Options of the whole test suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden folders are rewritten on purpose only."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden folders from what is rendered"
    )
