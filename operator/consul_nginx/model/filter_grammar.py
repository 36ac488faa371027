"""The grammar of Consul's filter expressions: github.com/hashicorp/go-bexpr 0.1.2, grammar.peg."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

Filter = Callable[[Any], bool]
Selector = tuple[str, ...]


class FilterError(ValueError):
    """It can't be evaluated; the message says why."""


class Operator(Enum):
    """What is asked of a field; ``contains`` is ``in`` the other way round."""

    EQUAL = "=="
    IN = "in"
    EMPTY = "is empty"
    MATCHES = "matches"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One question to one field; ``negated`` with ``!=`` and ``not``."""

    selector: Selector
    operator: Operator
    value: str
    negated: bool


_SPACE = r"[ \t\r\n]+"
_ANY_SPACE = r"[ \t\r\n]*"
_NAME = r"[a-zA-Z][a-zA-Z0-9_]*"


def _words(*words: str, after: str = _SPACE) -> re.Pattern[str]:
    return re.compile(_SPACE + _SPACE.join(words) + after)


def _sign(sign: str) -> re.Pattern[str]:
    return re.compile(_ANY_SPACE + sign + _ANY_SPACE)


_SPACES = re.compile(_ANY_SPACE)
_AND, _OR, _NOT = _words("and"), _words("or"), re.compile(f"not{_SPACE}")
_OPEN, _CLOSE = re.compile(rf"\({_ANY_SPACE}"), re.compile(rf"{_ANY_SPACE}\)")
_FIRST_NAME, _DOT_NAME = re.compile(f"({_NAME})"), re.compile(rf"\.({_NAME})")
_INDEX, _INDEX_END = re.compile(rf"\[{_ANY_SPACE}"), re.compile(rf"{_ANY_SPACE}\]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?=[ \t\r\n)]|\Z)")
_TEXT = re.compile(r'`(?P<raw>[^`]*)`|"(?P<escaped>[^"]*)"')
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}

# In the order in which they are tried: how it is written, and whether it is negated.
_BEFORE_VALUE = (
    (_sign("=="), Operator.EQUAL, False),
    (_sign("!="), Operator.EQUAL, True),
    (_words("contains"), Operator.IN, False),
    (_words("not", "contains"), Operator.IN, True),
    (_words("matches"), Operator.MATCHES, False),
    (_words("not", "matches"), Operator.MATCHES, True),
)
_WITHOUT_VALUE = (
    (_words("is", "empty", after=""), Operator.EMPTY, False),
    (_words("is", "not", "empty", after=""), Operator.EMPTY, True),
)
_AFTER_VALUE = ((_words("in"), Operator.IN, False), (_words("not", "in"), Operator.IN, True))


def parse(text: str, *, compare: Callable[[Comparison], Filter]) -> Filter:
    """A filter made of those that ``compare`` makes; raises ``FilterError``, as ``compare`` may."""
    reader = _Reader(text, compare)
    try:
        found = reader.expression()
    except RecursionError as error:
        raise FilterError("it has too many parentheses in each other") from error
    if found is None or not reader.is_at_end():
        raise FilterError(f"it can't be read from {text[reader.farthest :]!r} on")
    return found


class _Reader:
    """Each method reads what it is named after; without it there it reads nothing: None."""

    def __init__(self, text: str, compare: Callable[[Comparison], Filter]) -> None:
        self._text, self._compare = text, compare
        self._at = self.farthest = 0

    def expression(self) -> Filter | None:
        self._skip(_SPACES)
        return self._either()

    def is_at_end(self) -> bool:
        self._skip(_SPACES)
        return self._at == len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self.farthest = max(self.farthest, self._at)
        return found

    def _either(self) -> Filter | None:
        left, end = self._both(), self._at
        if left is not None and self._skip(_OR):
            if (right := self._either()) is not None:
                return lambda entry: left(entry) or right(entry)
            self._at = end
        return left

    def _both(self) -> Filter | None:
        left, end = self._term(), self._at
        if left is not None and self._skip(_AND):
            if (right := self._both()) is not None:
                return lambda entry: left(entry) and right(entry)
            self._at = end
        return left

    def _term(self) -> Filter | None:
        begin = self._at
        if self._skip(_NOT):
            if (denied := self._term()) is not None:
                return lambda entry: not denied(entry)
            self._at = begin
        if self._skip(_OPEN):
            grouped = self._either()
            if grouped is not None and self._skip(_CLOSE):
                return grouped
            self._at = begin
        return self._comparison()

    def _comparison(self) -> Filter | None:
        begin = self._at
        found = self._field_first()
        if found is None:
            self._at = begin
            found = self._value_first()
        if found is None:
            self._at = begin
            return None
        return self._compare(found)

    def _field_first(self) -> Comparison | None:
        selector = self._selector()
        if selector is None:
            return None
        end = self._at
        for pattern, operator, negated in _BEFORE_VALUE:
            if self._skip(pattern) and (value := self._value()) is not None:
                return Comparison(
                    selector=selector, operator=operator, value=value, negated=negated
                )
            self._at = end
        for pattern, operator, negated in _WITHOUT_VALUE:
            if self._skip(pattern):
                return Comparison(selector=selector, operator=operator, value="", negated=negated)
        return None

    def _value_first(self) -> Comparison | None:
        value = self._value()
        if value is None:
            return None
        end = self._at
        for pattern, operator, negated in _AFTER_VALUE:
            if self._skip(pattern) and (selector := self._selector()) is not None:
                return Comparison(
                    selector=selector, operator=operator, value=value, negated=negated
                )
            self._at = end
        return None

    def _selector(self) -> Selector | None:
        first = self._skip(_FIRST_NAME)
        if first is None:
            return None
        names = [first[1]]
        while (name := self._part()) is not None:
            names.append(name)
        return tuple(names)

    def _part(self) -> str | None:
        begin = self._at
        if (dotted := self._skip(_DOT_NAME)) is not None:
            return dotted[1]
        if self._skip(_INDEX):
            name = self._quoted()
            if name is not None and self._skip(_INDEX_END):
                return name
        self._at = begin
        return None

    def _value(self) -> str | None:
        """Names without quotes are a text too."""
        if (selector := self._selector()) is not None:
            return ".".join(selector)
        if (number := self._skip(_NUMBER)) is not None:
            return number[0]
        return self._quoted()

    def _quoted(self) -> str | None:
        found = self._skip(_TEXT)
        if found is None or (raw := found["raw"]) is not None:
            return raw if found is not None else None
        return _ESCAPE.sub(_unescaped, found["escaped"])


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1] not in _ESCAPES:
        raise FilterError(f"{escape[0]} in a text with quotes is not known here; write it in ``")
    return _ESCAPES[escape[1]]
