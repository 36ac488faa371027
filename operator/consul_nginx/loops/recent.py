"""Memory with a bound: what was touched last stays."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

Value = TypeVar("Value")


def keep(items: OrderedDict[str, Value], key: str, value: Value, *, at_most: int) -> Value:
    """Put ``value`` last, and drop the first when there are too many; returns ``value``."""
    items[key] = value
    items.move_to_end(key)
    while len(items) > at_most:
        items.popitem(last=False)
    return value
