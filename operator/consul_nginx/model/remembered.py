"""Results of pure functions, remembered for as long as what they were made from is there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def by_identity(function: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """``function`` of an immutable object, called once for each object, not for each equal one.

    To hash or compare what holds a thousand endpoints costs as much as to look at them; and what
    did not change stays the same object from one plan to the next. Nothing is kept alive by it.
    """
    found: dict[int, tuple[weakref.ref[Given], Made]] = {}

    @wraps(function)
    def remembered(given: Given) -> Made:
        key = id(given)
        entry = found.get(key)
        if entry is not None and entry[0]() is given:
            return entry[1]
        made = function(given)
        # The entry goes before another object can get the same id.
        found[key] = weakref.ref(given, lambda _: found.pop(key, None)), made
        return made

    return remembered
