"""One line per event: JSON in pods, readable on a terminal; never blocks the writer.

Not the ``logging`` module, which costs the supervisor 2 MB and would block it when nobody reads.
"""

from __future__ import annotations

import json
import os
import select
import time

# A pipe that polls as writable has a free page, and a write of at most PIPE_BUF fits into it.
_PIPE_BUF = 4096


def write_without_blocking(*, fd: int, data: bytes) -> bool:
    """Write to a pipe, file or terminal that we don't own; False when (some of) it was dropped.

    ``O_NONBLOCK`` would be shared with everyone who has the descriptor, hence poll and small
    writes.
    """
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    for start in range(0, len(data), _PIPE_BUF):
        try:
            if not any(mask & select.POLLOUT for _, mask in poller.poll(0)):
                return False
            os.write(fd, data[start : start + _PIPE_BUF])
        except OSError:
            return False
    return True


def _now() -> str:
    seconds = time.time()
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{seconds % 1 * 1000:03.0f}Z"
    )


def json_line(
    *, when: str, level: str, component: str, event: str, fields: dict[str, object]
) -> str:
    """The line for machines."""
    head = {"time": when, "level": level, "component": component, "event": event}
    return json.dumps({**head, **fields}, default=str)


def plain_line(
    *, when: str, level: str, component: str, event: str, fields: dict[str, object]
) -> str:
    """The line for people."""
    details = " ".join(f"{key}={value}" for key, value in fields.items())
    return f"{when[11:-1]} {level:7} {component}: {event} {details}".rstrip()


class Log:
    """Where a component says what happened."""

    def __init__(self, *, component: str, fd: int = 1) -> None:
        self._component = component
        self._fd = fd
        self._line = plain_line if os.isatty(fd) else json_line

    def info(self, event: str, **fields: object) -> None:
        """Something happened as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something went wrong and is dealt with."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Somebody has to look at this."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        line = self._line(
            when=_now(), level=level, component=self._component, event=event, fields=fields
        )
        write_without_blocking(fd=self._fd, data=line.encode(errors="replace") + b"\n")
