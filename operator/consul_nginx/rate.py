"""How often something may happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class TokenBucket:
    """``burst`` times at once, then ``per_second`` times a second."""

    per_second: float
    burst: int
    clock: Callable[[], float] = field(default=time.monotonic)
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        """Full at first."""
        self._tokens, self._at = float(self.burst), self.clock()

    def take(self) -> float:
        """Take a token, on credit if there is none; returns the seconds until it is one's own."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self.per_second)

    def try_take(self) -> bool:
        """Take a token if there is one."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self.clock()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
