"""What nginx refused of each LoadBalancer's bundle, and until when it is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consul_nginx.backoff import Backoff
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.nginx.substitute import RefusedTexts

# A port that was taken may be free later; each attempt is a reload that fails if it is not.
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 900.0
# As it is rendered, as it was before, and left out; and those of the rendering before.
MAX_TEXTS = 6


@dataclass(kw_only=True)
class _Noted:
    message: str
    backoff: Backoff
    until: float | None


class Refusals:
    """Texts of files by LoadBalancer.

    What was refused of a file as it was rendered stays known while what stands in for it is tried,
    and the other way round: else the two would take turns for ever.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[ObjectRef, dict[str, dict[str, _Noted]]] = {}

    def note(
        self, ref: ObjectRef, *, files: Mapping[str, str], message: str, passing: bool
    ) -> bool:
        """nginx refused ``files``; ``passing``: it may take them later. True when that is news."""
        noted, news = self._noted.setdefault(ref, {}), False
        for name, text in files.items():
            texts = noted.setdefault(name, {})
            before = texts.pop(text, None)
            if before is not None and not self._is_over(before):
                texts[text] = before
                continue
            backoff = before.backoff if before is not None else _backoff()
            texts[text] = _Noted(
                message=message,
                backoff=backoff,
                until=self._clock() + backoff.next() if passing else None,
            )
            news = True
            for oldest in list(texts)[:-MAX_TEXTS]:
                del texts[oldest]
        return news

    def refused(self, ref: ObjectRef) -> RefusedTexts:
        """What to leave out now."""
        return {
            name: found
            for name, texts in self._noted.get(ref, {}).items()
            if (found := {t: item.message for t, item in texts.items() if not self._is_over(item)})
        }

    def next_try(self, ref: ObjectRef) -> float | None:
        """Seconds until something may be tried again; None when nothing will."""
        noted = self._noted.get(ref, {}).values()
        times = [item.until for texts in noted for item in texts.values() if item.until]
        future = [at - self._clock() for at in times if at > self._clock()]
        return min(future, default=None)

    def forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone."""
        self._noted.pop(ref, None)

    def _is_over(self, item: _Noted) -> bool:
        return item.until is not None and self._clock() >= item.until


def _backoff() -> Backoff:
    return Backoff(first=FIRST_RETRY_S, last=LONGEST_RETRY_S)
