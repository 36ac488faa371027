"""Child processes: started with their standard error on a pipe of ours, reaped, never waited for.

The pipe never blocks nginx: its writing end is non-blocking, so what we can't read in time is lost
instead (a line of log, against requests that hang).
"""

from __future__ import annotations

import os
import signal
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from consul_nginx.agent.logs import write_without_blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from consul_nginx.agent.supervisor.loop import Loop

_MAX_LINE = 8192
_KEPT_LINES = 100
_STDERR = 2


class Child:
    """A process, the last lines it said, and how it ended."""

    def __init__(
        self,
        *,
        loop: Loop,
        argv: list[str],
        on_line: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.status: int | None = None
        self._loop = loop
        self._on_line = on_line
        self._quiet = quiet
        self._rest = b""
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.pid = _spawn(argv=argv, stderr=writer)
        except OSError:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)
        # Until end of file, not until the process ends: orphaned workers go on writing.
        loop.watch(self._reader, self._read)

    @property
    def running(self) -> bool:
        """Whether the process has not been reaped yet."""
        return self.status is None

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def drain(self) -> None:
        """Read what was said up to now."""
        self._read(0)

    def _read(self, _mask: int) -> None:
        while self._reader >= 0:
            try:
                data = os.read(self._reader, 65536)
            except BlockingIOError:
                return
            if not data:
                self._loop.unwatch(self._reader)
                os.close(self._reader)
                self._reader = -1
                return
            if not self._quiet:
                write_without_blocking(fd=_STDERR, data=data)
            self._split(data)

    def _split(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > _MAX_LINE:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        for line in lines:
            text = line[:_MAX_LINE].decode(errors="replace")
            self.lines.append(text)
            if self._on_line:
                self._on_line(text)


def _spawn(*, argv: list[str], stderr: int) -> int:
    return os.posix_spawn(
        argv[0],
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stderr, _STDERR),
        ],
        # Its own group: a terminal's Ctrl-C comes to the supervisor, which tells nginx to drain.
        setpgroup=0,
        # Python ignores SIGPIPE, and ignored signals stay ignored after exec.
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        setsigmask=[],
    )


class Children:
    """Who to tell when a process has ended. As PID 1 we also reap what we never started."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}

    def add(self, child: Child) -> Child:
        """Wait for this one."""
        self._known[child.pid] = child
        return child

    def reap(self) -> list[Child]:
        """Take the exit status of all that ended; returns those we know."""
        ended = []
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                child = self._known.pop(pid, None)
                if child:
                    child.status = status
                    child.drain()
                    ended.append(child)
        return ended
