"""What became of rendering a user's own template."""

from __future__ import annotations

from dataclasses import dataclass

from consul_nginx.model.facts import Question

Answers = dict[Question, list[object]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a template can't be rendered; ``line`` counts from 1, 0 when it is about the whole.

    ``stopped``: it used up the time or the memory that it may.
    """

    line: int
    message: str
    stopped: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``text`` is None when there is a ``failure``, and while the template waits for answers.

    ``asked`` is all that it asked, also of what failed; ``unanswered`` what there was no answer to,
    and ``absent`` what it needs and Consul does not have.
    """

    text: str | None = None
    failure: Failure | None = None
    asked: frozenset[Question] = frozenset()
    unanswered: frozenset[Question] = frozenset()
    absent: frozenset[Question] = frozenset()
