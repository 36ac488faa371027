"""Verdicts are values: what a policy found becomes a condition word for word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Status of a Kubernetes condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of an object, without the times that only the API needs."""

    type: str
    status: Status
    reason: str
    message: str

    @property
    def is_true(self) -> bool:
        """Whether the condition holds."""
        return self.status is Status.TRUE


def accepted() -> Condition:
    """The object's specification is in use."""
    return Condition(type="Accepted", status=Status.TRUE, reason="Accepted", message="in use")


def rejected(*, reason: str, message: str) -> Condition:
    """The object's specification is not used; ``message`` names field, value and the way out."""
    return Condition(type="Accepted", status=Status.FALSE, reason=reason, message=message)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with one field of an object."""

    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value}: {self.reason}"
