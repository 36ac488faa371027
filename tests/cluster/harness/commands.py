"""Run other programs, and wait for conditions."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from cluster.harness.report import HarnessError, failed_with_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a short command and return what it printed; a failure becomes a HarnessError."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            env=env,
            cwd=cwd,
            check=False,
            timeout=timeout,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise HarnessError(f"{words[0]}: no such program") from error
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"no end after {timeout:.0f} s: {' '.join(words)}") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise HarnessError(f"failed ({done.returncode}): {' '.join(words)}\n{said}")
    return done


def run_logged(
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long command with its output in a log; an interruption ends it too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        raise failed_with_log(f"failed ({code}): {' '.join(str(word) for word in argv[:6])} …", log)


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    log: Path | None = None,
    interval: float = 0.2,
    give_up: Callable[[], str | None] = lambda: None,
) -> None:
    """Wait for a condition; past the deadline (or when hopeless) name what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        hopeless = give_up()
        if hopeless is None and time.monotonic() < deadline:
            time.sleep(interval)
            continue
        text = f"{what}: {hopeless or f'not within {seconds:.0f} s'}"
        raise failed_with_log(text, log) if log else HarnessError(text)
