"""How verdicts are shown: as a table, as lines, as JSON; and the exit code that tells of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from consul_nginx.commands.judgement import Verdict
from consul_nginx.commands.manifests import Manifest
from consul_nginx.commands.tables import printable, table


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """2 when an object is rejected; 1 is for what can't be judged at all."""
    return 0 if all(verdict.accepted.is_true for verdict in verdicts) else 2


def as_table(verdicts: Iterable[Verdict]) -> str:
    """One line per object."""
    rows = [
        (item.source, item.accepted.status, item.accepted.reason, item.accepted.message)
        for item in verdicts
    ]
    return table([("OBJECT", "ACCEPTED", "REASON", "MESSAGE"), *rows])


def as_json(verdicts: Iterable[Verdict]) -> str:
    """A list with one object for each."""
    found = [
        {
            "kind": item.kind,
            "namespace": item.ref.namespace,
            "name": item.ref.name,
            "file": item.file,
            "accepted": item.accepted.is_true,
            "reason": item.accepted.reason,
            "message": item.accepted.message,
        }
        for item in verdicts
    ]
    return json.dumps(found, indent=2)


def line(verdict: Verdict) -> str:
    """A rejection, for standard error."""
    condition = verdict.accepted
    return printable(f"rejected: {verdict.source}: {condition.reason}: {condition.message}")


def skipped(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """The kinds that are passed over, in one line; nothing when there is none."""
    kinds = Counter(manifest.kind or "without a kind" for manifest in manifests)
    counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return (printable(f"skipped: {counted}"),) if counted else ()
