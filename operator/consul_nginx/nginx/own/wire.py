"""A rendering as JSON: what is asked of the process that renders, and what it answers. Pure."""

from __future__ import annotations

import json
from typing import Any

from consul_nginx.model.facts import (
    DatacentersQuery,
    InstancesQuery,
    KeyQuery,
    NodesQuery,
    Question,
    ServicesQuery,
    TreeQuery,
    order,
)
from consul_nginx.nginx.own.outcome import Answers, Failure, Outcome

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        InstancesQuery,
        KeyQuery,
        TreeQuery,
        ServicesQuery,
        NodesQuery,
        DatacentersQuery,
    )
}
_FIELDS = {
    "InstancesQuery": ("service", "tags", "datacenter"),
    "KeyQuery": ("key", "datacenter"),
    "TreeQuery": ("prefix", "datacenter"),
    "ServicesQuery": ("datacenter",),
    "NodesQuery": ("datacenter",),
    "DatacentersQuery": (),
}


def encode_request(*, source: str, answers: Answers, prefixes: tuple[str, ...] | None) -> bytes:
    """One line."""
    return _line(
        {
            "source": source,
            "answers": [[_named(query), answer] for query, answer in answers.items()],
            "prefixes": prefixes,
        }
    )


def decode_request(line: bytes) -> tuple[str, Answers, tuple[str, ...] | None]:
    """Source, answers and prefixes."""
    raw = json.loads(line)
    prefixes = raw["prefixes"]
    return (
        raw["source"],
        {_query(named): answer for named, answer in raw["answers"]},
        None if prefixes is None else tuple(prefixes),
    )


def encode_outcome(outcome: Outcome) -> bytes:
    """One line."""
    failure = outcome.failure
    return _line(
        {
            "text": outcome.text,
            "failure": None
            if failure is None
            else [failure.line, failure.message, failure.stopped],
            **{
                name: [_named(query) for query in sorted(getattr(outcome, name), key=order)]
                for name in ("asked", "unanswered", "absent")
            },
        }
    )


def decode_outcome(line: bytes) -> Outcome:
    """Raises ``ValueError``, ``LookupError`` or ``TypeError`` for what is none."""
    raw = json.loads(line)
    failure = raw["failure"]
    return Outcome(
        text=raw["text"],
        failure=None
        if failure is None
        else Failure(line=failure[0], message=failure[1], stopped=failure[2]),
        asked=frozenset(map(_query, raw["asked"])),
        unanswered=frozenset(map(_query, raw["unanswered"])),
        absent=frozenset(map(_query, raw["absent"])),
    )


def _named(query: Question) -> list[Any]:
    kind = type(query).__name__
    return [kind, *(getattr(query, name) for name in _FIELDS[kind])]


def _query(named: list[Any]) -> Question:
    kind, *values = named
    fields = dict(zip(_FIELDS[kind], values, strict=True))
    if "tags" in fields:
        fields["tags"] = tuple(fields["tags"])
    query: Question = _KINDS[kind](**fields)
    return query


def _line(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
