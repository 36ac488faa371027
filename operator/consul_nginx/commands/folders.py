"""Bundles in a folder: written, read, compared."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from consul_nginx.model.bundle import FILE_NAME, HASH_FILE

# Of one LoadBalancer, or below NAMESPACE/NAME.
_PLACES = ("*", "*/*/*")
_DEPTHS = (1, 3)

Files = Mapping[str, str]


class FolderError(Exception):
    """The folder can't be used; the message names it, and the reason."""


def write_files(folder: Path, files: Files) -> None:
    """Have nothing but ``files``, by path below it, in a folder.

    What an earlier call wrote is removed. Raises ``FolderError``, before anything is touched, when
    there is anything else: it may be somebody's work.
    """
    try:
        earlier = _earlier(folder)
        for path in earlier:
            path.unlink()
            _remove_empty(path.parent, below=folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
    except OSError as error:
        raise FolderError(f"{error.filename or folder}: {error.strerror}") from error


def read_files(folder: Path) -> dict[str, str]:
    """The bundles in a folder; other files in it don't matter. Raises ``FolderError``."""
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    try:
        return {
            path.relative_to(folder).as_posix(): path.read_text(errors="replace")
            for pattern in _PLACES
            for path in folder.glob(pattern)
            if FILE_NAME.fullmatch(path.name) and path.is_file()
        }
    except OSError as error:
        raise FolderError(f"{error.filename or folder}: {error.strerror}") from error


def difference(*, before: Files, after: Files, names: tuple[str, str]) -> str:
    """Unified difference of all files, empty when they are equal; ``names`` are the folders'."""
    return "".join(
        line
        for path in sorted({*before, *after})
        for line in _difference(path, before.get(path), after.get(path), names)
    )


def _difference(
    path: str, before: str | None, after: str | None, names: tuple[str, str]
) -> Iterator[str]:
    lines = difflib.unified_diff(
        StringIO(before or "").readlines(),
        StringIO(after or "").readlines(),
        fromfile="/dev/null" if before is None else f"{names[0]}/{path}",
        tofile="/dev/null" if after is None else f"{names[1]}/{path}",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _earlier(folder: Path) -> list[Path]:
    """Files of an earlier call; hidden ones are nobody's."""
    found: list[Path] = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        if not _is_ours(path, depth=len(parts)):
            raise FolderError(
                f"{path}: not a file of a bundle; name a folder that is empty, or that was "
                "written by this command before"
            )
        found.append(path)
    return found


def _is_ours(path: Path, *, depth: int) -> bool:
    return (
        depth in _DEPTHS
        and not path.is_symlink()
        and FILE_NAME.fullmatch(path.name) is not None
        and (path.parent / HASH_FILE).is_file()
    )


def _remove_empty(folder: Path, *, below: Path) -> None:
    while folder != below and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
