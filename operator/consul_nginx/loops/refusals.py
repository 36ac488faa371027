"""What nginx refused of each LoadBalancer's bundle, and until when it is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consul_nginx.backoff import Backoff
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.nginx.substitute import Refused

# A port that was taken may be free later; each attempt is a reload that fails if it is not.
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 900.0


@dataclass(kw_only=True)
class _Noted:
    refused: Refused
    backoff: Backoff
    until: float | None


class Refusals:
    """Listener files by LoadBalancer."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[ObjectRef, dict[str, _Noted]] = {}

    def note(
        self, ref: ObjectRef, *, files: Mapping[str, str], message: str, passing: bool
    ) -> bool:
        """nginx refused ``files``; ``passing``: it may take them later. True when that is news."""
        noted, news = self._noted.setdefault(ref, {}), False
        for name, text in files.items():
            before = noted.get(name)
            same = before is not None and before.refused.text == text
            if same and before is not None and not self._is_over(before):
                continue
            backoff = (
                before.backoff
                if before is not None and same
                else Backoff(first=FIRST_RETRY_S, last=LONGEST_RETRY_S)
            )
            noted[name] = _Noted(
                refused=Refused(text=text, message=message),
                backoff=backoff,
                until=self._clock() + backoff.next() if passing else None,
            )
            news = True
        return news

    def refused(self, ref: ObjectRef) -> Mapping[str, Refused]:
        """What to leave out now."""
        noted = self._noted.get(ref, {})
        return {name: item.refused for name, item in noted.items() if not self._is_over(item)}

    def next_try(self, ref: ObjectRef) -> float | None:
        """Seconds until something may be tried again; None when nothing will."""
        times = [item.until for item in self._noted.get(ref, {}).values() if item.until]
        future = [at - self._clock() for at in times if at > self._clock()]
        return min(future, default=None)

    def forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self._noted.pop(ref, None)

    def _is_over(self, item: _Noted) -> bool:
        return item.until is not None and self._clock() >= item.until
