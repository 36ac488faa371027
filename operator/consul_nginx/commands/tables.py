"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

_BETWEEN = "   "


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Lines whose columns stand below each other; the first row is the heading."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _BETWEEN.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def printable(text: str) -> str:
    """What Consul or a file holds may be anything; a terminal obeys some of it."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
