"""The agent's side of ``supervisor.sock``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from consul_nginx.agent.state import Nginx, Stage, Worker

_STATUS_TIMEOUT = 5.0
# Longer than the supervisor's own limits together: test, verify, and verify of the way back.
_LOAD_TIMEOUT = 120.0
_MAX_LINE = 1024 * 1024
_STAGES: dict[str, Stage] = {
    "test": "test",
    "reload": "reload",
    "verify": "verify",
    "start": "start",
}


class SupervisorUnreachableError(Exception):
    """Nobody answers: the nginx container is not there (yet), or is being replaced. Try again."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The supervisor's no."""

    stage: Stage
    output: str


class SupervisorClient:
    """One connection per request: nothing to keep in step with a supervisor that restarts."""

    def __init__(self, *, path: str) -> None:
        self._path = path

    async def status(self) -> Nginx:
        """What nginx runs."""
        raw = await self._ask({"op": "status"}, within=_STATUS_TIMEOUT)
        try:
            return _nginx(raw)
        except (KeyError, TypeError) as error:
            raise SupervisorUnreachableError(f"can't read its status: {error!r}") from error

    async def load(self, digest: str, *, test: bool) -> Refused | None:
        """Have nginx run the bundle; None when it does."""
        request = {"op": "load", "hash": digest, "test": test}
        return _refused(await self._ask(request, within=_LOAD_TIMEOUT))

    async def test(self, digest: str) -> Refused | None:
        """Have ``nginx -t`` look at a trial; None when it passes."""
        return _refused(await self._ask({"op": "test", "hash": digest}, within=_LOAD_TIMEOUT))

    async def _ask(self, request: dict[str, object], *, within: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within):
                line = await self._exchange(json.dumps(request).encode() + b"\n")
                raw = json.loads(line)
        except (OSError, TimeoutError, ValueError) as error:
            raise SupervisorUnreachableError(str(error) or type(error).__name__) from error
        if not isinstance(raw, dict):
            raise SupervisorUnreachableError("its answer is not an object")
        return raw

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_MAX_LINE)
        try:
            writer.write(line)
            return await reader.readline()
        finally:
            writer.close()


def _refused(raw: dict[str, Any]) -> Refused | None:
    if raw.get("ok") is True:
        return None
    if "error" in raw:
        return Refused(stage="supervisor", output=str(raw["error"]))
    stage = _STAGES.get(str(raw.get("stage")), "supervisor")
    return Refused(stage=stage, output=str(raw.get("output", "")))


def _nginx(raw: dict[str, Any]) -> Nginx:
    return Nginx(
        hash=raw["hash"],
        master=raw["master"],
        workers=tuple(
            Worker(
                pid=worker["pid"],
                shutting_down=worker["shutting_down"],
                generation=worker["generation"],
            )
            for worker in raw["workers"]
        ),
        reloads=raw["reloads"],
        restarts=raw["restarts"],
    )
