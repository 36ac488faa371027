"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Backoff:
    """Doubles from ``first`` to ``last``, each time cut by up to half at random; never gives up."""

    first: float
    last: float
    uniform: Callable[[float, float], float] = field(default=random.uniform)
    _attempts: int = 0

    def next(self) -> float:
        """The pause before the next attempt."""
        pause = min(self.last, self.first * 2.0 ** min(self._attempts, 30))
        self._attempts += 1
        return pause * self.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: begin with the shortest pause again."""
        self._attempts = 0
