"""The bundles on the volume, and the ``current`` link to the one that nginx is to run."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from consul_nginx.agent.supervisor.protocol import is_hash

if TYPE_CHECKING:
    from consul_nginx.model.layout import Layout

_MAIN_FILE = "nginx.conf"  # as in model.bundle, whose import of hashlib costs 3 MB


class Bundles:
    """Read side of ``generated/``, and the only writer of ``current``."""

    def __init__(self, *, layout: Layout) -> None:
        self._generated = str(layout.generated)
        self._trials = str(layout.trials)
        self._current = str(layout.current)

    def main_file(self, digest: str) -> str:
        """nginx's main file of a bundle; for ``nginx -t``."""
        return f"{self._generated}/{digest}/{_MAIN_FILE}"

    def exists(self, digest: str) -> bool:
        """Whether the agent has unpacked it."""
        return os.path.isfile(self.main_file(digest))

    def trial_file(self, digest: str) -> str:
        """nginx's main file of a bundle that must never run."""
        return f"{self._trials}/{digest}/{_MAIN_FILE}"

    def trial_exists(self, digest: str) -> bool:
        """Whether there is one to test."""
        return os.path.isfile(self.trial_file(digest))

    def newest_first(self) -> list[str]:
        """What is there; the agent touches a bundle that it wants again."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._generated) as entries:
            for entry in entries:
                if is_hash(entry.name) and self.exists(entry.name):
                    with suppress(FileNotFoundError):
                        found.append((entry.stat().st_mtime_ns, entry.name))
        return [name for _, name in sorted(found, reverse=True)]

    @property
    def current(self) -> str | None:
        """The bundle that ``current`` points to, if that is one of ours."""
        try:
            name = os.path.basename(os.readlink(self._current))
        except OSError:
            return None
        return name if is_hash(name) and self.exists(name) else None

    def point_to(self, digest: str | None) -> None:
        """Swap ``current`` in one step; None takes it away."""
        if digest is None:
            with suppress(FileNotFoundError):
                os.unlink(self._current)
            return
        new = self._current + ".new"
        with suppress(FileNotFoundError):
            os.unlink(new)
        os.symlink(f"{self._generated}/{digest}", new)
        os.replace(new, self._current)
