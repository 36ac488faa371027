"""nginx's ``stub_status`` over its unix socket."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

_REQUEST = b"GET /stub_status HTTP/1.0\r\nHost: status\r\n\r\n"
_TIMEOUT = 1.0
_MAX_ANSWER = 8192
_ACTIVE = re.compile(r"^Active connections: (\d+)", re.ASCII | re.MULTILINE)
_TOTALS = re.compile(r"^ (\d+) (\d+) (\d+) *\r?$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Connections:
    """What ``stub_status`` counts."""

    active: int
    accepted: int
    handled: int
    requests: int


def parse(answer: str) -> Connections | None:
    """The figures of an answer, None if it is not one."""
    active, totals = _ACTIVE.search(answer), _TOTALS.search(answer)
    if not active or not totals:
        return None
    accepted, handled, requests = (int(number) for number in totals.groups())
    return Connections(active=int(active[1]), accepted=accepted, handled=handled, requests=requests)


async def ask(path: str) -> Connections | None:
    """nginx's figures, None while it doesn't answer."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(_REQUEST)
                answer = await reader.read(_MAX_ANSWER)
                while chunk := await reader.read(_MAX_ANSWER):
                    answer += chunk
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return parse(answer.decode(errors="replace"))
