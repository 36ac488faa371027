"""What an nginx pod says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PodRejection:
    """What nginx did not take, in nginx's own words.

    ``hash`` is the bundle's, ``stage`` how far it came, ``files`` those to blame: None while the
    agent is looking for them.
    """

    hash: str | None
    stage: str
    message: str
    files: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.stage}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class PodReport:
    """One nginx pod.

    ``host`` is its node's address, ``revision`` what it serves, ``rejection`` why it does not serve
    the newest one it saw, ``problem`` why it could not be asked.
    """

    pod: str
    ready: bool
    host: str | None = None
    revision: int | None = None
    rejection: PodRejection | None = None
    problem: str | None = None
