"""What an nginx pod says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PodReport:
    """One nginx pod.

    ``host`` is its node's address, ``revision`` what it serves, ``rejection`` why it does not serve
    the newest one it saw, in nginx's own words, ``problem`` why it could not be asked.
    """

    pod: str
    ready: bool
    host: str | None = None
    revision: int | None = None
    rejection: str | None = None
    problem: str | None = None
