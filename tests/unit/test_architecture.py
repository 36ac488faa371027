"""The rooms stay what they are."""

from __future__ import annotations

import subprocess
import sys


def test_layers_and_purity_hold(repository):
    """The contracts of import-linter in pyproject.toml."""
    found = subprocess.run(
        [f"{sys.prefix}/bin/lint-imports"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_the_operator_folder_does_not_shadow_the_standard_library(repository):
    """``operator/__init__.py`` would break ``import collections`` from the repository's root."""
    done = subprocess.run(
        [sys.executable, "-c", "import collections, operator; operator.add"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (repository / "operator" / "__init__.py").exists()
