"""Renders a user's own template with the answers at hand. Pure, and without any limit of time.

``sandbox`` runs it in a process whose time and memory have bounds.
"""

from __future__ import annotations

import re
from types import TracebackType

from jinja2 import TemplateError, TemplateSyntaxError

from consul_nginx.nginx.own.environment import environment, forbidden
from consul_nginx.nginx.own.functions import Functions, TooManyError
from consul_nginx.nginx.own.outcome import Answers, Failure, Outcome

MAX_SOURCE_BYTES = 64 << 10
MAX_TEXT_BYTES = 512 << 10

# How Jinja2 calls a template that comes from no file.
_SOURCE_FILE = "<template>"
_NOT_FOR_NGINX = re.compile(r"[^\n\t\x20-\x7e]")


class TooSlowError(Exception):
    """Raised into a rendering by whoever limits its time."""


def render_own(
    *, source: str, answers: Answers, prefixes: tuple[str, ...] | None = None
) -> Outcome:
    """Text, a failure, or what the template waits for.

    ``answers`` has, for each question that was answered, the list that a template sees.
    ``prefixes`` are the folders of the KV store that it may read; None: all of it. ``MemoryError``
    and ``TooSlowError`` become a failure too.
    """
    failure = _refused(source)
    if failure is not None:
        return Outcome(failure=failure)
    functions = Functions(answers=answers, prefixes=prefixes)
    text, final = None, False
    try:
        text = _rendered(source=source, functions=functions)
    except TemplateSyntaxError as error:
        return Outcome(failure=Failure(line=error.lineno, message=_words(error)))
    except Exception as error:  # noqa: BLE001 - whatever a template does is its own failure
        final = isinstance(error, _FINAL)
        failure = Failure(
            line=_line(error.__traceback__),
            message=_words(error),
            stopped=isinstance(error, MemoryError | TooSlowError),
        )
    if not final and (functions.unanswered or functions.absent):
        # What looked empty may be the cause of a failure.
        text = failure = None
    return Outcome(
        text=text,
        failure=failure,
        asked=frozenset(functions.asked),
        unanswered=frozenset(functions.unanswered),
        absent=frozenset(functions.absent),
    )


class _TooMuchError(Exception):
    pass


# Of these, no answer of Consul's can be the cause.
_FINAL = (MemoryError, TooSlowError, TooManyError, _TooMuchError)


def _refused(source: str) -> Failure | None:
    if len(source.encode()) > MAX_SOURCE_BYTES:
        return Failure(line=0, message=f"it has more than {MAX_SOURCE_BYTES:,} bytes")
    normal = source.replace("\r\n", "\n")
    found = _NOT_FOR_NGINX.search(normal)
    if found is None:
        return None
    line = normal.count("\n", 0, found.start()) + 1
    return Failure(line=line, message=f"{found[0]!a}: write ASCII, comments too")


def _rendered(*, source: str, functions: Functions) -> str:
    made = environment()
    tree = made.parse(source)
    statement = forbidden(tree)
    if statement is not None:
        line, words = statement
        raise TemplateSyntaxError(words, line)
    template = made.from_string(tree, globals=dict(functions.named()))
    parts: list[str] = []
    size = 0
    for part in template.generate():
        size += len(part)
        if size > MAX_TEXT_BYTES:
            raise _TooMuchError(f"it makes more than {MAX_TEXT_BYTES:,} bytes")
        parts.append(part)
    return "".join(parts)


def _line(traceback: TracebackType | None) -> int:
    """Line of the template where it failed, the innermost one."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _SOURCE_FILE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than a template may"
    if isinstance(error, RecursionError):
        return "it calls itself without end"
    message = error.message if isinstance(error, TemplateError) else str(error)
    return " ".join((message or type(error).__name__).split())[:500]
