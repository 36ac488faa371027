"""Regular expressions that strangers may hand to nginx: what they cost is bounded beforehand.

nginx matches them with PCRE, which goes back and forth: ``(a+)+b`` takes a path of 30 letters
minutes. What is allowed here means the same in Python's ``re`` and in PCRE, so that the plan can
tell what an expression matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MAX_LENGTH = 200
# Ways to match that one place of a path may be tried in: two ``.*``, or a dozen of ``?``.
MAX_WAYS = 20_000

_WAYS_OF_UNBOUNDED = 100
_UNBOUNDED_FROM = 1000
_ESCAPES = re.compile(r"\\(?:[dDwW]|[^A-Za-z0-9])|\\(.?)", re.ASCII)
_PLAIN = {op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN, op.AT}


def objection(text: str) -> str | None:
    """What speaks against an expression, with the way out; None when it can be used."""
    if len(text) > MAX_LENGTH:
        return f"a regular expression has at most {MAX_LENGTH} characters"
    unknown = next((m.group() for m in _ESCAPES.finditer(text) if m.group(1) is not None), None)
    if unknown is not None:
        return rf"{unknown} is not known: \d, \D, \w, \W and escaped punctuation are"
    if "[[" in text or "[:" in text or "{," in text:
        return "write classes as [a-z], and repetitions as {0,3}"
    try:
        parsed = parser.parse(text.removeprefix("^"), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return _objection_to(parsed)


def _objection_to(parsed: Iterable[Any]) -> str | None:
    try:
        ways = _ways(parsed)
    except _RefusedError as refused:
        return str(refused)
    if ways > MAX_WAYS:
        return (
            "it can match in too many ways, and could keep nginx busy: at most two of * and +, or "
            "a dozen of ? and |"
        )
    return None


class _RefusedError(Exception):
    """A construct that has no place here."""


def _ways(items: Iterable[Any]) -> int:
    """In how many ways it can match at one place, at most."""
    ways = 1
    for kind, value in items:
        if kind in _PLAIN:
            continue
        if kind is op.BRANCH:
            ways *= sum(_ways(branch) for branch in value[1])
        elif kind is op.SUBPATTERN and value[0] is None and not value[1] and not value[2]:
            ways *= _ways(value[3])
        elif kind is op.MAX_REPEAT:
            low, high, repeated = value
            if high > 1 and not all(item[0] in _PLAIN for item in _inside(repeated)):
                raise _RefusedError(
                    "what is repeated may hold no alternative and no other repetition: such as "
                    "(?:a+)+, that can take for ever"
                )
            ways *= _ways(repeated) + (_WAYS_OF_UNBOUNDED if high > _UNBOUNDED_FROM else high - low)
        elif kind is op.SUBPATTERN:
            raise _RefusedError("groups are written (?:...): nothing is captured")
        else:
            raise _RefusedError("look-around, references and lazy repetitions are not known")
    return ways


def _inside(repeated: Any) -> list[Any]:
    """What is repeated; of a group that is alone, what is in it."""
    items = list(repeated)
    if len(items) == 1 and items[0][0] is op.SUBPATTERN and items[0][1][0] is None:
        return list(items[0][1][3])
    return items
