"""The two kinds of error that leave this room, and the one that a write can end in.

::

    KubeError
    ├── KubeUnavailable   try again: network, time-out, 429, 502, 503, 504
    ├── KubeConflict      somebody else wrote in between: read again, then decide again
    ├── NotLeading        another replica leads: nothing was sent
    └── KubeRefused       to be told, with the server's own words: other 4xx, 500
"""

from __future__ import annotations


class KubeError(Exception):
    """The API server could not be asked, or did not do what was asked."""


class KubeUnavailable(KubeError):  # noqa: N818 - a state, not a mistake
    """A state that passes: try again after a delay."""


class KubeConflict(KubeError):  # noqa: N818 - an outcome
    """The object changed, exists, or is gone since it was read."""


class NotLeading(KubeError):  # noqa: N818 - a state, not a mistake
    """Another replica leads, or may lead by now: this one watches and plans, and writes nothing."""


class KubeRefused(KubeError):  # noqa: N818 - a verdict of the server's
    """The same request will be refused again."""
