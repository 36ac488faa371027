"""Logs: one JSON object per line in pods, plain lines on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Serialise time, level, logger, message and, when there is one, the traceback."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(*, level: str, as_json: bool | None = None) -> None:
    """Set up the root logger; JSON unless standard error is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json if as_json is not None else not sys.stderr.isatty():
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf tells every event that it hands to us; our own lines say what was done about it.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    # What ends kopf is told once, by the one that begins it anew; signals are ours to handle.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.CRITICAL)
    logging.getLogger("kopf._core.reactor.orchestration").setLevel(logging.CRITICAL)
