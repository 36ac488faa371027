"""Renders users' own templates in a process that may hang without anybody else waiting.

Decision 0021 says why. One process renders one template after the other. It limits its own CPU time
and memory; what it can't interrupt, such as one huge number, is ended from here.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress

from consul_nginx.nginx.own.outcome import Answers, Failure, Outcome
from consul_nginx.nginx.own.wire import decode_outcome, encode_request

# Of the clock on the wall: a busy machine must not fail a template that is well.
PATIENCE_S = 10.0
# What took too long is not tried again at each change in Consul.
PUNISHED_S = 60.0
# Text and questions, as JSON; a worker that is out of control must not fill our memory.
MAX_LINE_BYTES = 4 << 20

_COMMAND = ("-I", "-m", "consul_nginx.sandbox.worker")


class Renderer:
    """Owns the process, which is begun when it is needed, and again when it ended."""

    def __init__(
        self, *, patience: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._stopped: dict[bytes, tuple[float, Outcome]] = {}

    async def render(
        self, *, source: str, answers: Answers, prefixes: tuple[str, ...] | None
    ) -> Outcome:
        """See ``render_own``; a template that is stopped has failed."""
        digest = hashlib.sha256(source.encode()).digest()
        until, stopped = self._stopped.get(digest, (0.0, Outcome()))
        if self._clock() < until:
            return stopped
        self._stopped.pop(digest, None)
        request = encode_request(source=source, answers=answers, prefixes=prefixes)
        async with self._lock:
            outcome = await self._ask(request)
            if outcome.failure is not None and outcome.failure.stopped:
                await self._end()
                self._stopped[digest] = (self._clock() + PUNISHED_S, outcome)
        return outcome

    async def close(self) -> None:
        """End the process."""
        await self._end()

    async def _ask(self, request: bytes) -> Outcome:
        """Ask the process; one that does not answer as it should was stopped."""
        process = await self._running()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            async with asyncio.timeout(self._patience):
                process.stdin.write(request)
                await process.stdin.drain()
                line = await process.stdout.readline()
            return decode_outcome(line)
        except TimeoutError:
            message = f"it took more than {self._patience:g} s"
        except (OSError, ValueError, LookupError, TypeError):
            message = "it needs more memory than a template may, or ends the process that renders"
        except asyncio.CancelledError:
            await self._end()
            raise
        return Outcome(failure=Failure(line=0, message=message, stopped=True))

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            # No environment: the operator's has a token of Consul's in it.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={},
                limit=MAX_LINE_BYTES,
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
