"""The process that renders: a line with a request in, a line with an outcome out.

``python -I -m consul_nginx.sandbox.worker``. It begins by giving up what it does not need: files,
sockets, children, memory. A template that gets out of Jinja2's sandbox finds itself in this one.
"""

from __future__ import annotations

import resource
import signal
import sys
from types import FrameType

from consul_nginx.nginx.own.outcome import Failure, Outcome
from consul_nginx.nginx.own.rendering import TooSlowError, render_own
from consul_nginx.nginx.own.wire import decode_request, encode_outcome

CPU_SECONDS = 2.0
# For a template that was just being compiled: Jinja2 passes over errors there.
AGAIN_SECONDS = 0.5
# It has to fit beside the operator: Kubernetes ends all of a container whose memory is used up.
MEMORY_BYTES = 128 << 20


def main() -> None:
    """Answer until standard input ends."""
    _warm_up()
    _give_up()
    signal.signal(signal.SIGPROF, _too_slow)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(encode_outcome(_answer(line)))
        sys.stdout.buffer.flush()


def _answer(line: bytes) -> Outcome:
    """The outcome; after one that was stopped, this process had better not go on."""
    try:
        source, answers, prefixes = decode_request(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS, AGAIN_SECONDS)
        try:
            return render_own(source=source, answers=answers, prefixes=prefixes)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except TooSlowError as error:
        message = str(error)
    except MemoryError:
        message = f"it needs more than {MEMORY_BYTES >> 20} MiB of memory"
    return Outcome(failure=Failure(line=0, message=message, stopped=True))


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlowError(f"it took more than {CPU_SECONDS:g} s of CPU time")


def _warm_up() -> None:
    """Have everything imported that is imported late, as by Jinja2 to tell of an error."""
    for source in ("{{ 1 / 0 }}", "{{ 'a b' | wordwrap(1) | trusted }}", "{% if %}", "{{ ';' }}"):
        render_own(source=source, answers={})


def _give_up() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


if __name__ == "__main__":
    main()
