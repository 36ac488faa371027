"""What the supervisor waits on: readable descriptors, signals, and the clock."""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

Callback = Callable[[int], None]


class Loop:
    """A thin cover of ``selectors`` where each descriptor brings its callback."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(
        self, file: int | socket.socket, callback: Callback, *, mask: int = selectors.EVENT_READ
    ) -> None:
        """Call back with the ready mask; a second call for a descriptor replaces the first."""
        try:
            self._selector.modify(file, mask, callback)
        except KeyError:
            self._selector.register(file, mask, callback)

    def unwatch(self, file: int | socket.socket) -> None:
        """Forget the descriptor; before it is closed."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def turn(self, *, timeout: float | None) -> None:
        """Wait once, at most ``timeout`` seconds, and serve what is ready."""
        for key, mask in self._selector.select(timeout):
            # An earlier callback of this turn may have closed this one.
            if self._selector.get_map().get(key.fd) is key:
                key.data(mask)


class Signals:
    """Signals as values, taken between turns of the loop.

    The handlers only remember; the wake-up descriptor ends the ``select`` that is under way.
    """

    def __init__(self, *, loop: Loop, signals: Iterable[int]) -> None:
        self._pending: list[int] = []
        self._reader, writer = socket.socketpair()
        self._writer = writer
        for end in (self._reader, writer):
            end.setblocking(False)
        for number in signals:
            signal.signal(number, self._remember)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        loop.watch(self._reader, self._empty)

    def take(self) -> list[int]:
        """The signals that came since the last call, in order."""
        taken, self._pending = self._pending, []
        return taken

    def _remember(self, number: int, _frame: object) -> None:
        self._pending.append(number)

    def _empty(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            while self._reader.recv(512):
                pass
