"""Heavy traffic at a constant rate, by vegeta: it sends on schedule however slow the answers are.

Requests are empty POSTs. Go's HTTP client sends a GET again by itself when a kept connection turns
out to be closed, and nginx tries a GET on another instance; neither does so for a POST that was
sent, so whatever is lost on the way is seen here.

Go also keeps to as few connections as it can. Each of ``connections`` therefore has a host name of
its own, which is no more than the name of its pool: all lead to the targets' addresses. A pool
keeps one connection; what it opens beside it, while answers are slow, it closes after use. Kept as
well, those would be idle until answers are slow again, and nginx promises to answer only on what
was idle for less than ``keepaliveGrace`` (docs/tasks.md).
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import threading
import time
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from cluster.harness import binaries
from cluster.support.traffic import Failure
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cluster.harness.settings import Settings

TIMEOUT_S = 10
LONGEST_S = 1800  # it stops by itself then, should nobody be left to stop it

_OK = "200"


@dataclass(kw_only=True)
class Load:
    """What was sent and what came back so far; written by one thread, read by others.

    ``latencies`` are those of good answers, in seconds.
    """

    rate: int
    started: float = field(default_factory=time.time)
    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def percentile(self, percent: float) -> float:
        """Seconds within which this many percent of the good answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    def explain(self) -> str:
        """Failures in words, each with its time of day, for an assertion."""
        rows = [f"{len(self.failures)} of {self.requests} requests failed"]
        rows += [
            f"  {datetime.fromtimestamp(self.started + item.at, tz=UTC):%H:%M:%S.%f} UTC"
            f"  {item.reason}"
            for item in self.failures
        ]
        return "\n".join(rows)

    def take(self, row: Sequence[str]) -> None:
        """Count one result, a row of vegeta's CSV."""
        sent_ns, status, latency_ns, _, _, error = row[:6]
        self.requests += 1
        if status == _OK and not error:
            self.latencies.append(int(latency_ns) / 1e9)
        else:
            at = int(sent_ns) / 1e9 - self.started
            self.failures.append(Failure(at=at, reason=error or f"HTTP {status}"))


@contextmanager
def load(
    *,
    settings: Settings,
    addresses: Sequence[str],
    host: str,
    path: str = "/features",
    rate: int = 500,
    connections: int = 20,
) -> Iterator[Load]:
    """Send ``rate`` requests per second while the context lasts; it begins with the first answer.

    ``addresses`` (``IP:PORT``) share the connections. At the end every request has its result.
    """
    program = binaries.provide(settings, "vegeta")
    names = [f"connection-{number}.invalid" for number in range(connections)]
    targets = "".join(f"POST http://{name}{path}\nHost: {host}\n\n" for name in names)
    leads = [
        f"-connect-to={name}:80:{addresses[number % len(addresses)]}"
        for number, name in enumerate(names)
    ]
    result = Load(rate=rate)
    attack, encode = _start(program, rate=rate, targets=targets, leads=leads)
    reader = threading.Thread(target=_read, args=(encode.stdout, result), name="vegeta")
    reader.start()
    try:
        wait_for(
            lambda: result.requests > 0 or attack.poll() is not None,
            what="vegeta has its first result",
        )
        yield result
    finally:
        attack.send_signal(signal.SIGINT)
        reader.join()
        codes = (attack.wait(), encode.wait())
    if any(codes):
        raise AssertionError(f"vegeta ended with {codes}: it did not send all the time")


def _start(
    program: Path, *, rate: int, targets: str, leads: Sequence[str]
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[str]]:
    # Without the environment's proxies, which Go would use.
    env = {"PATH": os.environ["PATH"]}
    command = [
        program, "attack", f"-rate={rate}/1s", f"-duration={LONGEST_S}s",
        f"-timeout={TIMEOUT_S}s", "-max-body=0", "-connections=1", *leads,
    ]  # fmt: skip
    attack = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    encode = subprocess.Popen(
        [program, "encode", "-to=csv"],
        env=env,
        stdin=attack.stdout,
        stdout=subprocess.PIPE,
        text=True,
        # A Ctrl-C is for the one that sends; this one ends when all results are written.
        start_new_session=True,
    )
    if attack.stdin is not None and attack.stdout is not None:
        attack.stdin.write(targets.encode())
        attack.stdin.close()
        attack.stdout.close()  # encode has it
    return attack, encode


def _read(output: IO[str] | None, result: Load) -> None:
    for row in csv.reader(output or ()):
        result.take(row)
