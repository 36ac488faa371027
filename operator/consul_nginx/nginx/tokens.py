"""The only things a template may print: tokens whose constructors validate.

Rule 1 of safe configuration: a sink takes typed tokens, never text. A template that prints a bare
``str`` fails (``environment.py``), so a forgotten validator is an exception and not an injection.
Patterns are matched with ``fullmatch``; lengths stay far below nginx's limit of 4096 bytes for one
token of its configuration.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from consul_nginx.model.bundle import FILE_NAME
from consul_nginx.model.names import HOSTNAME
from consul_nginx.model.tls import TlsVersion
from consul_nginx.model.variables import Variable

MAX_TOKEN_LENGTH = 1024
# nginx reads an argument, its escapes included, into a buffer of 4096 bytes.
_MAX_QUOTED_LENGTH = 4094

_MATCH_STEPS = 500_000


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


_PATH = re.compile(r"/([A-Za-z0-9._~!&()*+,=:@-]+(/[A-Za-z0-9._~!&()*+,=:@-]+)*/?)?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_POD_PATH = re.compile(r"/[A-Za-z0-9._/-]+", re.ASCII)
_SERVER_NAME = re.compile(rf"(\*\.)?{HOSTNAME.pattern}|\[[0-9a-f:]{{2,39}}\]", re.ASCII)
_EXPRESSION = re.compile(r"/[A-Za-z0-9/._~!&,=:@^$*+?|(){}\[\]\\-]*", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+*/-]{0,63}", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,5}[kmg]?", re.ASCII)
_REALM = re.compile(r"[ !#-\[\]-~]{1,64}", re.ASCII)
_VARIABLE = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_DIRECTIVE = re.compile(r"[a-z0-9_]+", re.ASCII)
_VALUE = re.compile(r"[ -~]+", re.ASCII)
_PRINTABLE = re.compile(r"[\t\n -~]*", re.ASCII)
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "$": "${d}"}


def hostname(text: str) -> Token:
    """Host name in lower case, for ``server_name``."""
    return _matching(kind="host name", pattern=HOSTNAME, text=text)


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


def tls_protocols(minimum: TlsVersion) -> Token:
    """Versions of TLS from ``minimum`` on, for ``ssl_protocols``."""
    versions = sorted(TlsVersion)
    return Token(" ".join(versions[versions.index(minimum) :]))


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


def server_name(text: str) -> Token:
    """Host name, one that begins with ``*.``, or an IPv6 address in brackets."""
    return _matching(kind="server name", pattern=_SERVER_NAME, text=text)


def expression(text: str) -> Token:
    """Regular expression for a ``location``, anchored at the path's beginning, in quotes.

    nginx looks for no variables in it. What PCRE does not find within so many steps is answered 500
    (PCRE's own limit is twenty times higher, and can take seconds).
    """
    token = _matching(kind="regular expression", pattern=_EXPRESSION, text=text)
    doubled = str(token).replace("\\", "\\\\")
    return Token(f'"(*LIMIT_MATCH={_MATCH_STEPS})^(?:{doubled})"')


def _for_map(pattern: str) -> Token:
    """Expression for a ``map``, in quotes; nginx looks for no variables in it."""
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"')
    token = f'"~{escaped}"'
    if len(token) > _MAX_QUOTED_LENGTH:
        raise UnsafeTokenError(f"too long for nginx: {token[:80]!r}")
    return Token(token)


def equal_to(text: str) -> Token:
    """Expression of a ``map`` for this value; of plain words, nginx compares no case."""
    value = _matching(kind="value", pattern=_VALUE, text=text)
    return _for_map(f"^{re.escape(str(value))}$")


def matched_by(text: str) -> Token:
    """Expression of a ``map`` for values that match a whole expression, within as many steps."""
    value = _matching(kind="regular expression", pattern=_VALUE, text=text)
    return _for_map(f"(*LIMIT_MATCH={_MATCH_STEPS})^(?:{value})$")


def expression_below(prefix: str) -> Token:
    """Expression of a ``map`` for all paths below a path."""
    return _for_map(f"^{re.escape(str(path(prefix)))}/")


def expression_for_path(text: str) -> Token:
    """The same as ``expression`` for a ``map``."""
    value = _matching(kind="regular expression", pattern=_EXPRESSION, text=text)
    return _for_map(f"(*LIMIT_MATCH={_MATCH_STEPS})^(?:{value})")


def greater_than(value: int) -> Token:
    """Expression of a ``map`` for decimal numbers above one."""
    digits = str(number(value, low=0, high=10**16))
    above = [rf"[1-9]\d{{{len(digits)},}}"]
    for position, digit in enumerate(digits):
        if digit != "9":
            rest = len(digits) - position - 1
            above.append(rf"{digits[:position]}[{int(digit) + 1}-9]\d{{{rest}}}")
    return _for_map(f"^0*(?:{'|'.join(above)})$")


def one_after_zeros(count: int) -> Token:
    """Expression of a ``map`` for so many zeros and a one, whatever comes then."""
    return _for_map(f"^0{{{number(count, low=0, high=1000)}}}1")


# Expressions of a ``map``: for whatever there is, for zeros and a two, and for ones and twos.
ANYTHING = _for_map("^")
TWO_AFTER_ZEROS = _for_map("^0*2")
NO_ZERO = _for_map("^[12]+$")


def one_of(words: Iterable[str]) -> Token:
    """Expression of a ``map`` for one of some words."""
    return _for_map(f"^{_alternatives(words)}$")


def asks_for_one_of(words: Iterable[str]) -> Token:
    """Expression of a ``map`` for OPTIONS, a colon and one of some words."""
    return _for_map(f"^OPTIONS:{_alternatives(words)}$")


def begins_with_one_of(words: Iterable[str]) -> Token:
    """Expression of a ``map`` for one of some words and a colon, whatever comes then."""
    return _for_map(f"^{_alternatives(words)}:")


def _alternatives(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(re.escape(str(word(item))) for item in words)})"


def listed(name: str) -> Token:
    """Expression of a ``map`` for a 1, a colon and a list of header names with this one."""
    return _for_map(f"(?i)^1:(?:.*[, ])?{re.escape(str(header_name(name)))}(?:[ ,]|$)")


def named_location(identity: str) -> Token:
    """Name of a location that requests are handed to."""
    return Token(f"@{identifier(identity)}")


def all_after(length: int, *, into: str) -> Token:
    """Expression of ``rewrite`` that keeps what follows so many bytes in a variable."""
    count = number(length, low=0, high=MAX_TOKEN_LENGTH)
    name = _matching(kind="variable", pattern=_VARIABLE, text=into)
    return Token(f'"(?s)^.{{{count}}}(?<{name}>.*)$"')


def of_length(length: int) -> Token:
    """Expression of ``rewrite`` for a path of so many bytes."""
    return Token(f'"(?s)^.{{{number(length, low=0, high=MAX_TOKEN_LENGTH)}}}$"')


def header_name(text: str) -> Token:
    """Name of an HTTP header."""
    return _matching(kind="header name", pattern=_HEADER_NAME, text=text)


def word(text: str) -> Token:
    """One of a fixed set of words, such as a media type or an argument of nginx's own."""
    return _matching(kind="word", pattern=_WORD, text=text)


def size(text: str) -> Token:
    """Size as nginx writes it."""
    return _matching(kind="size", pattern=_SIZE, text=text)


def network(text: str) -> Token:
    """Network such as ``10.0.0.0/8``."""
    if "%" in text:
        raise UnsafeTokenError(f"not a network: {text[:80]!r}")
    try:
        return Token(str(ipaddress.ip_network(text)))
    except ValueError as error:
        raise UnsafeTokenError(f"not a network: {text[:80]!r}") from error


def realm(text: str) -> Token:
    """What a password is for, in quotes; nginx writes it between quotes of its own, as it is.

    ``off`` would let everybody in.
    """
    if text == "off":
        raise UnsafeTokenError("not a realm: 'off'")
    return quoted(str(_matching(kind="realm", pattern=_REALM, text=text)))


def variable(name: str) -> Token:
    """A variable by its name, without the dollar sign."""
    return Token(f"${_matching(kind='variable', pattern=_VARIABLE, text=name)}")


def quoted(*pieces: str | Variable) -> Token:
    """Text and variables in double quotes; text stays what it is, dollar signs included.

    nginx has no way to write a dollar sign: ``$d``, which ``nginx.conf`` defines, stands for it.
    Its name is short so that a text of dollar signs only is not too long for nginx either.
    """
    text = f'"{"".join(map(_piece, pieces))}"'
    if len(text) > _MAX_QUOTED_LENGTH:
        raise UnsafeTokenError(f"too long for nginx: {text[:80]!r}")
    return Token(text)


def _piece(piece: str | Variable) -> str:
    if isinstance(piece, Variable):
        name = _matching(kind="variable", pattern=_VARIABLE, text=piece.name)
        return f"${{{name}}}"
    text = _matching(kind="printable text", pattern=_PRINTABLE, text=piece)
    return "".join(_ESCAPED.get(character, character) for character in str(text))


def joined(*tokens: Token) -> Token:
    """Tokens without a space between them."""
    return Token("".join(map(str, tokens)))


def spaced(*tokens: Token) -> Token:
    """Tokens with a space between them."""
    return Token(" ".join(map(str, tokens)))


def entry(key: Token, value: Token) -> Token:
    """A line of a ``map``."""
    return Token(f"{key} {value};")


def condition(value: Token) -> Token:
    """The head of a block for requests of which a variable says neither nothing nor 0."""
    return Token(f"if ({value})")


def block(head: Token, *lines: Token) -> Token:
    """A directive with a block, on one line."""
    return Token(f"{head} {{ {' '.join(map(str, lines))} }}")


def origins_below(*, scheme: str, host: str) -> Token:
    """Expression of a ``map`` for the origins whose host is below a name, without its port."""
    if scheme not in ("http", "https"):
        raise UnsafeTokenError(f"not a scheme: {scheme[:80]!r}")
    name, _, number = host.partition(":")
    checked = str(hostname(name)).replace(".", "\\\\.")
    end = f":{port(int(number))}" if number else ""
    return Token(f'"~^{scheme}://[a-z0-9.-]+\\\\.{checked}{end}$"')


def directive(name: str, *arguments: Token) -> Token:
    """A whole simple directive of nginx's; ``name`` is never a user's."""
    checked = _matching(kind="directive", pattern=_DIRECTIVE, text=name)
    if not all(isinstance(argument, Token) for argument in arguments):
        raise UnsafeTokenError(f"{name} has an argument that is no token: {arguments!r:.80}")
    return Token(f"{' '.join(map(str, (checked, *arguments)))};")
