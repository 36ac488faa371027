"""The only things a template may print: tokens whose constructors validate.

Rule 1 of safe configuration: a sink takes typed tokens, never text. A template that prints a bare
``str`` fails (``environment.py``), so a forgotten validator is an exception and not an injection.
Patterns are matched with ``fullmatch``; lengths stay far below nginx's limit of 4096 bytes for one
token of its configuration.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath

from consul_nginx.model.bundle import FILE_NAME

MAX_TOKEN_LENGTH = 1024


class UnsafeTokenError(ValueError):
    """A value that must not be written into nginx's configuration."""


class Token:
    """Text that is safe where it stands; made by the functions below only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Token({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def _matching(*, kind: str, pattern: re.Pattern[str], text: str) -> Token:
    if len(text) > MAX_TOKEN_LENGTH or not pattern.fullmatch(text):
        raise UnsafeTokenError(f"not a {kind}: {text[:80]!r}")
    return Token(text)


_HOSTNAME = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
)
_PATH = re.compile(r"/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_POD_PATH = re.compile(r"/[A-Za-z0-9._/-]+", re.ASCII)


def hostname(text: str) -> Token:
    """Host name in lower case, for ``server_name``."""
    return _matching(kind="host name", pattern=_HOSTNAME, text=text)


def path(text: str) -> Token:
    """URL path for a ``location``."""
    return _matching(kind="path", pattern=_PATH, text=text)


def identifier(text: str) -> Token:
    """Part of a name that we make ourselves: a hash with a prefix."""
    return _matching(kind="identifier", pattern=_IDENTIFIER, text=text)


def file_name(text: str) -> Token:
    """Name of a file of the bundle, for ``include``."""
    return _matching(kind="file name", pattern=FILE_NAME, text=text)


def pod_path(value: PurePosixPath) -> Token:
    """Absolute path inside the nginx pod."""
    return _matching(kind="path in the pod", pattern=_POD_PATH, text=str(value))


def number(value: int, *, low: int, high: int) -> Token:
    """Decimal number within bounds."""
    if type(value) is not int or not low <= value <= high:
        raise UnsafeTokenError(f"not a number from {low} to {high}: {value!r}")
    return Token(str(value))


def port(value: int) -> Token:
    """TCP or UDP port."""
    return number(value, low=1, high=65535)


def duration(seconds: float) -> Token:
    """Duration; whole seconds where it has them."""
    milliseconds = number(round(seconds * 1000), low=0, high=86_400_000)
    return Token(f"{seconds:.0f}s" if seconds == int(seconds) else f"{milliseconds}ms")


def kilobytes(value: int) -> Token:
    """Size."""
    return Token(f"{number(value, low=1, high=1 << 20)}k")


def socket_address(*, address: str, port_number: int) -> Token:
    """IP literal with port; IPv6 in brackets."""
    if "%" in address:
        raise UnsafeTokenError(f"not an IP address: {address[:80]!r}")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise UnsafeTokenError(f"not an IP address: {address[:80]!r}") from error
    host = f"[{parsed}]" if parsed.version == 6 else str(parsed)
    return Token(f"{host}:{port(port_number)}")
