"""Bundles on the shared volume: unpacked in one step, kept while they may be needed.

The agent is the only writer of ``generated/``. A folder under its final name is complete, since it
gets that name by ``rename``; there is no ``fsync``, for the volume is memory.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from consul_nginx.model.bundle import MANIFEST_KEY, Bundle, BundleError, Manifest
from consul_nginx.model.layout import Layout

KEPT = 3

_SERVED = "served"  # an empty file: nginx has run this bundle
_TEMPORARY = ".tmp-"


class Store:
    """``generated/`` on the volume."""

    def __init__(self, *, layout: Layout) -> None:
        self._folder = Path(layout.generated)
        self._current = Path(layout.current)
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folder, and remove what an agent left that was killed while it unpacked."""
        self._folder.mkdir(mode=0o750, exist_ok=True)
        for left in self._folder.glob(f"*{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)

    def unpack(self, *, manifest: Manifest, bundle: Bundle) -> None:
        """Make ``generated/<hash>/`` hold the bundle, and be the newest."""
        folder = self._folder / bundle.hash
        if folder.exists() and not self._holds(folder, bundle):
            self._remove(folder)
        if not folder.exists():
            new = self._temporary(bundle.hash)
            new.mkdir(mode=0o750)
            for name, text in bundle.files.items():
                _write(new / name, text)
            _write(new / MANIFEST_KEY, manifest.to_json())
            new.rename(folder)
        elif self.manifest(bundle.hash) != manifest:
            new = self._temporary(bundle.hash)
            _write(new, manifest.to_json())
            new.replace(folder / MANIFEST_KEY)
        os.utime(folder)

    def manifest(self, digest: str) -> Manifest | None:
        """What was unpacked with the bundle; None when it is not here (any more)."""
        try:
            return Manifest.from_json((self._folder / digest / MANIFEST_KEY).read_text())
        except (OSError, BundleError):
            return None

    def files(self, digest: str) -> dict[str, str]:
        """A bundle's files by name; none when it is not here (any more)."""
        return {path.name: path.read_text() for path in (self._folder / digest).glob("*.conf")}

    def last_served(self) -> str | None:
        """The bundle that nginx came to run last."""
        return next(iter(self._served()), None)

    def hashes(self) -> list[str]:
        """The bundles that are here."""
        with suppress(FileNotFoundError):
            return sorted(p.parent.name for p in self._folder.glob(f"*/{MANIFEST_KEY}"))
        return []

    def mark_served(self, digest: str) -> None:
        """nginx runs this one: it is good."""
        with suppress(FileNotFoundError):
            (self._folder / digest / _SERVED).touch()

    def prune(self, *, keep: set[str]) -> list[str]:
        """Delete all but ``keep`` and the last few that nginx has run; returns what went."""
        kept = keep | set(self._served()[:KEPT])
        gone = [path for path in self._folder.iterdir() if path.name not in kept]
        for path in gone:
            self._remove(path)
        return sorted(path.name for path in gone)

    def _served(self) -> list[str]:
        """Newest first."""
        marks = sorted(
            self._folder.glob(f"*/{_SERVED}"),
            key=lambda path: path.stat().st_mtime_ns,
            reverse=True,
        )
        return [path.parent.name for path in marks]

    def switched_at(self) -> float | None:
        """When the supervisor last swapped ``current``."""
        try:
            return self._current.lstat().st_mtime
        except OSError:
            return None

    def _temporary(self, digest: str) -> Path:
        return self._folder / f"{digest}{_TEMPORARY}{os.getpid()}-{next(self._numbers)}"

    def _remove(self, path: Path) -> None:
        """Out of the way in one step, then bit by bit: nobody sees half a bundle."""
        grave = self._temporary(path.name.partition(_TEMPORARY)[0])
        path.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)

    @staticmethod
    def _holds(folder: Path, bundle: Bundle) -> bool:
        try:
            return all((folder / name).read_text() == text for name, text in bundle.files.items())
        except (OSError, UnicodeDecodeError):
            return False


class Trials:
    """``trials/`` on the volume: bundles that nginx tests and never runs."""

    def __init__(self, *, layout: Layout) -> None:
        self._folder = Path(layout.trials)

    def write(self, files: Mapping[str, str]) -> str:
        """Make these files the only trial; returns its hash."""
        self.clear()
        bundle = Bundle.of(files)
        folder = self._folder / bundle.hash
        folder.mkdir(mode=0o750, parents=True)
        for name, text in bundle.files.items():
            _write(folder / name, text)
        return bundle.hash

    def clear(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as file:
        file.write(text)
