"""What the agent tells its C library: memory that a large bundle took is to be given back."""

from __future__ import annotations

import ctypes

# malloc.h of glibc; the numbers are part of its interface.
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8
_TRIM_ABOVE = 128 * 1024


def give_back() -> None:
    """Keep one heap for all threads, and little that is free on it; before any thread starts.

    Measured with two bundles of 6 MB: 47 MB stay resident without this, 40 MB with it, as before
    them. Where the C library is another one than glibc, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_ABOVE)
