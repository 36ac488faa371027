"""What goes over ``supervisor.sock``: requests parsed, answers made. Pure.

``docs/reference/bundle.md`` describes it in words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["test", "reload", "verify", "start"]

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class RequestError(ValueError):
    """The request is not one of ours; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Make nginx run this bundle."""

    hash: str
    test: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Say what ``nginx -t`` thinks of this one, and load nothing."""

    hash: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say what runs."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where a load ended, and why in nginx's own words.

    ``half_applied``: nginx may run the refused bundle in part and has to be told to go back.
    """

    stage: Stage
    output: str
    half_applied: bool = False


def is_hash(text: object) -> bool:
    """Whether ``text`` may become part of a path."""
    return isinstance(text, str) and bool(_HASH.fullmatch(text))


def parse(line: bytes) -> Load | Trial | Status:
    """The request that a line holds; raises ``RequestError``."""
    try:
        raw: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON: {error}") from error
    op = raw.get("op") if isinstance(raw, dict) else None
    if op == "status":
        return Status()
    if op not in ("load", "test"):
        raise RequestError('op is none of "load", "test" and "status"')
    digest, test = raw.get("hash"), raw.get("test", True)
    if not is_hash(digest):
        raise RequestError("hash is not a SHA-256 in hex")
    if op == "test":
        return Trial(hash=digest)
    if not isinstance(test, bool):
        raise RequestError("test is neither true nor false")
    return Load(hash=digest, test=test)


def done(digest: str) -> dict[str, object]:
    """The answer to a load that nginx runs now, and to a trial that passed."""
    return {"ok": True, "hash": digest}


def failed(digest: str, failure: Failure) -> dict[str, object]:
    """The answer to a load that did not come to be, and to a trial that failed."""
    return {"ok": False, "hash": digest, "stage": failure.stage, "output": failure.output}


def error(message: str) -> dict[str, object]:
    """The answer to a request that nothing was done for."""
    return {"ok": False, "error": message}
