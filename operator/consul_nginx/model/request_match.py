"""What a request is like, beside its host and path (Gateway API: ``HTTPRouteMatch``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ValueMatchType(StrEnum):
    """How a value is compared (Gateway API: ``HeaderMatchType``)."""

    EXACT = "Exact"
    REGULAR_EXPRESSION = "RegularExpression"


@dataclass(frozen=True, kw_only=True, order=True)
class ValueMatch:
    """A header or query parameter that has this value; ``name`` in lower case."""

    name: str
    type: ValueMatchType
    value: str

    def __str__(self) -> str:
        sign = "=" if self.type is ValueMatchType.EXACT else "~"
        return f"{self.name} {sign} {self.value}"


@dataclass(frozen=True, kw_only=True, order=True)
class RequestMatch:
    """All of it must hold; each in order of names, so that equal ones are equal."""

    methods: tuple[str, ...] = ()
    headers: tuple[ValueMatch, ...] = ()
    query_parameters: tuple[ValueMatch, ...] = ()

    @property
    def is_any(self) -> bool:
        """Whether every request is meant."""
        return not (self.methods or self.headers or self.query_parameters)

    @property
    def weakness(self) -> tuple[bool, int, int]:
        """Less for what is stronger (Gateway API: precedence of matches with one path)."""
        return not self.methods, -len(self.headers), -len(self.query_parameters)

    def __str__(self) -> str:
        found = [f"method {', '.join(self.methods)}"] if self.methods else []
        found += [f"header {item}" for item in self.headers]
        found += [f"query parameter {item}" for item in self.query_parameters]
        return "; ".join(found)


ANY_REQUEST = RequestMatch()
