"""nginx's own words: which lines on its standard error mean that it refused, and how to quote them.

Pure. The rules come from nginx's ``ngx_cycle.c`` and ``ngx_connection.c``: whatever makes a reload
fail is logged as ``[emerg]``, and a port in use is tried five times, each with such a line, before
``still could not bind()``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT = 2048

_PREFIX = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (\d+)#\d+: ", re.ASCII)
_EMERGENCY = "[emerg]"
_TRIED_AGAIN = re.compile(r"(?:bind|listen)\(\) .*failed \(98: ", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Emergency:
    """A line by which nginx says that it cannot go on."""

    text: str
    pid: int | None
    final: bool


def normalised(line: str) -> str:
    """The line without date and process, as ``nginx -t`` prints it: equal errors are equal."""
    return _PREFIX.sub(lambda match: f"nginx: [{match[1]}] ", line, count=1)


def emergency(line: str) -> Emergency | None:
    """What the line says if it is an ``[emerg]`` of nginx, else None."""
    prefix = _PREFIX.match(line)
    text = normalised(line)
    if not text.startswith(f"nginx: {_EMERGENCY} "):
        return None
    return Emergency(
        text=text,
        pid=int(prefix[2]) if prefix else None,
        final=not _TRIED_AGAIN.search(text),
    )


def quote(lines: list[str]) -> str:
    """Why nginx refused: its ``[emerg]`` lines, each once, else its last lines; at most 2 kB."""
    said = [normalised(line) for line in lines]
    emergencies = [line for line in said if emergency(line)]
    chosen = list(dict.fromkeys(emergencies)) or said[-5:]
    return "\n".join(chosen).encode()[:LIMIT].decode(errors="ignore")
