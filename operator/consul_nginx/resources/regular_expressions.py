"""Regular expressions that strangers may hand to nginx: what they cost is bounded beforehand.

nginx matches them with PCRE, which goes back and forth: ``(a+)+b`` takes a path of 30 letters
minutes. What is allowed here is read by a grammar of its own, and means the same in Python's ``re``
and in PCRE, so that the plan can tell what an expression matches::

    alternatives  sequence ("|" sequence)*
    sequence      (atom repetition?)*
    atom          "(?:" alternatives ")"  class  "." "^" "$"  escape  any other character
    repetition    "*" "+" "?" "{n}" "{n,}" "{n,m}"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

MAX_LENGTH = 200
MAX_COUNT = 100
# What one path may cost: ways to match, times the characters that each looks at. Two of ``*`` may
# be followed by a hundred characters.
MAX_WORK = 1_000_000
MAX_WIDTH = 1000

_WAYS_OF_UNBOUNDED = 100
_CLASS = re.compile(r"\[\^?(?:\\.|[^\[\]\\])+\]", re.ASCII)
# PCRE takes [.a.] and [=a=] for something of POSIX's that it does not know.
_POSIX = re.compile(r"\[([.=:]).*\1\]", re.ASCII)
_ESCAPE = re.compile(r"\\[dDwW]|\\[^A-Za-z0-9]", re.ASCII)
_REPETITION = re.compile(r"[*+?]|\{(\d{1,9})(,)?(\d{1,9})?\}", re.ASCII)
_SIMPLE = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_PUNCTUATION = frozenset("()[]{}*+?|\\")

NO_NESTING = (
    "what is repeated may hold no alternative and no other repetition: such as (?:a+)+, that can "
    "take for ever"
)
UNKNOWN = "look-around, options and lazy repetitions are not known"
TOO_MANY_WAYS = (
    "it can match in too many ways, and could keep nginx busy: at most two of * and +, or a dozen "
    "of ? and |, and little after them"
)


def objection(text: str) -> str | None:
    """What speaks against an expression, with the way out; None when it can be used."""
    if len(text) > MAX_LENGTH:
        return f"a regular expression has at most {MAX_LENGTH} characters"
    reader = _Reader(text.removeprefix("^"))
    try:
        cost = reader.alternatives()
        reader.end()
        re.compile(text, re.ASCII)
    except _RefusedError as refused:
        return str(refused)
    except re.error as error:
        return f"not a regular expression: {error}"
    if cost.width > MAX_WIDTH:
        return f"its repetitions are of more than {MAX_WIDTH} characters in all"
    return TOO_MANY_WAYS if cost.ways * cost.width > MAX_WORK else None


class _RefusedError(Exception):
    """A construct that has no place here."""


class _Cost(NamedTuple):
    """Ways to match at one place, characters that one way looks at, and whether it has choices."""

    ways: int
    width: int
    plain: bool = True


@dataclass
class _Reader:
    """Reads an expression from left to right, and counts what it costs."""

    text: str
    position: int = 0

    def alternatives(self) -> _Cost:
        """The cost of all of them, up to the end of their group."""
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        if len(found) == 1:
            return found[0]
        return _Cost(sum(c.ways for c in found), sum(c.width for c in found), plain=False)

    def end(self) -> None:
        """Refuse what is left over."""
        if self.position < len(self.text):
            raise _RefusedError("there is a ) without its (?:")

    def _sequence(self) -> _Cost:
        ways, width, plain = 1, 0, True
        while self.position < len(self.text) and self.text[self.position] not in "|)":
            item = self._piece()
            ways, width, plain = ways * item.ways, width + item.width, plain and item.plain
        return _Cost(ways, width, plain)

    def _piece(self) -> _Cost:
        begun = self.position
        atom = self._atom()
        match = _REPETITION.match(self.text, self.position)
        if match is None:
            return atom
        if self.text[begun] in "^$":
            raise _RefusedError(f"{self.text[begun]} can't be repeated")
        self.position = match.end()
        if self._next() and self._next() in "*+?{":
            raise _RefusedError(UNKNOWN)
        return _repeated(atom, match)

    def _atom(self) -> _Cost:
        if self._take("(?:"):
            inner = self.alternatives()
            if not self._take(")"):
                raise _RefusedError("there is a (?: without its )")
            return inner
        if self.text.startswith("(?", self.position):
            raise _RefusedError(UNKNOWN)
        if self._next() == "(":
            raise _RefusedError("groups are written (?:...): nothing is captured")
        if self._next() == "[":
            return self._class()
        if self._next() == "\\":
            return self._escape()
        if self._next() in _PUNCTUATION:
            raise _RefusedError(
                rf"{self._next()} stands for itself only when it is written \{self._next()}"
            )
        self.position += 1
        return _Cost(1, 1)

    def _class(self) -> _Cost:
        match = _CLASS.match(self.text, self.position)
        if match is None or _POSIX.fullmatch(match.group()):
            raise _RefusedError(
                r"write classes as [a-z], a bracket in them as \[ or \], and what begins and ends "
                "with a point in another order"
            )
        for escape in re.findall(r"\\.", match.group()):
            _known(escape)
        self.position = match.end()
        return _Cost(1, 1)

    def _escape(self) -> _Cost:
        _known(self.text[self.position : self.position + 2])
        self.position += 2
        return _Cost(1, 1)

    def _next(self) -> str:
        return self.text[self.position : self.position + 1]

    def _take(self, word: str) -> bool:
        found = self.text.startswith(word, self.position)
        self.position += len(word) if found else 0
        return found


def _known(escape: str) -> None:
    if not _ESCAPE.fullmatch(escape):
        raise _RefusedError(rf"{escape} is not known: \d, \D, \w, \W and escaped punctuation are")


def _repeated(atom: _Cost, match: re.Match[str]) -> _Cost:
    low, high = _SIMPLE.get(match.group(), (0, None))
    if match.group(1) is not None:
        low = int(match.group(1))
        high = int(match.group(3)) if match.group(3) else (None if match.group(2) else low)
    if max(low, high or 0) > MAX_COUNT:
        raise _RefusedError(
            f"it repeats something more than {MAX_COUNT} times; * and + have no such limit"
        )
    if (high is None or high > 1) and not atom.plain:
        raise _RefusedError(NO_NESTING)
    return _Cost(
        ways=atom.ways + (_WAYS_OF_UNBOUNDED if high is None else high - low),
        width=atom.width * max(low, high or 1),
        plain=atom.plain and low == high,
    )
