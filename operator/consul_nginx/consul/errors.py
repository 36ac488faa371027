"""The kinds of error that leave this room.

::

    ConsulError
    ├── ConsulUnavailable   try again: network, time-out, 429, every 5xx
    │   └── ConsulConflict  read again at once: somebody else wrote meanwhile
    └── ConsulRefused       give up until the configuration changes: other 4xx, unsafe request
"""

from __future__ import annotations

from typing import ClassVar


class ConsulError(Exception):
    """Consul could not be asked, or did not answer as it should; ``kind`` is a word for metrics."""

    kind: ClassVar[str]


class ConsulUnavailable(ConsulError):  # noqa: N818 - a state, not a mistake
    """A state that passes: try again after a delay."""

    kind = "unavailable"


class ConsulConflict(ConsulUnavailable):
    """What a write was made from is no longer so; whatever else was to be written is written."""

    kind = "conflict"


class ConsulRefused(ConsulError):  # noqa: N818 - a verdict of Consul's
    """The same request will be refused again; ``status`` is Consul's, 0 when it wasn't asked."""

    kind = "refused"

    def __init__(self, words: str, *, status: int = 0) -> None:
        super().__init__(words)
        self.status = status
