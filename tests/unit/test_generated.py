"""What is generated from the code is committed as it is generated."""

from __future__ import annotations

import subprocess
import sys


def test_crds_and_reference_pages_are_up_to_date(repository):
    done = subprocess.run(
        [sys.executable, repository / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
