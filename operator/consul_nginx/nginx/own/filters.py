"""The filters of a user's own template: what makes text of strangers fit for nginx, and helpers.

What a template prints is checked (``environment.py``). These filters make tokens, which are not
checked again: of text that is quoted, of hosts and ports, and of what its author answers for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consul_nginx.nginx import tokens
from consul_nginx.nginx.own.functions import UsageError
from consul_nginx.nginx.tokens import Token

_QUOTABLE = re.compile(r"[\x20-\x7e]*", re.ASCII)


def nginx_quote(value: Any) -> Token:
    """Text in double quotes, as one token of nginx; ``$`` can't be told from a variable's."""
    text = str(value)
    if "$" in text or len(text) > tokens.MAX_TOKEN_LENGTH or not _QUOTABLE.fullmatch(text):
        raise UsageError(
            f"nginx_quote: {text[:60]!a}: $, characters that are not printable ASCII and more "
            f"than {tokens.MAX_TOKEN_LENGTH} characters can't be quoted for nginx"
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return Token(f'"{escaped}"')


def nginx_host(value: Any) -> Token:
    """An IP address, in brackets where it is one of IPv6, or a host name."""
    text = str(value)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return tokens.hostname(text.lower())
    if "%" in text:
        raise UsageError(f"nginx_host: {text[:60]!a}: an address with a scope")
    return Token(f"[{address}]" if address.version == 6 else str(address))


def port(value: Any) -> Token:
    """A port from 1 to 65535."""
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII):
        raise UsageError(f"port: {text[:60]!a}: not a port from 1 to 65535")
    return tokens.port(int(text))


def trusted(value: Any) -> Token:
    """Text as it is, for which the template's author answers."""
    return Token(str(value))


def by_tag(instances: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Pairs of a tag and what has it, by tag."""
    found: dict[str, list[Any]] = {}
    for instance in instances:
        for tag in instance["Tags"]:
            found.setdefault(tag, []).append(instance)
    return sorted(found.items())


def parse_json(text: str) -> Any:
    """What a JSON text says; empty text, as before Consul has answered, says nothing."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"parse_json: {error}") from error


def parse_bool(text: str) -> bool:
    """As Go's ``strconv.ParseBool``."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise UsageError(f"parse_bool: {text[:60]!a}: neither true nor false")


def base64_decode(text: str) -> str:
    """Text that is encoded in base64."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"base64_decode: {error}") from error


def sha256_hex(text: str) -> str:
    """SHA-256 of a text; names of zones and upstreams can be made from it."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(text: str, separator: str = " ") -> list[str]:
    """Parts of a text."""
    return text.split(separator)


def regex_match(text: str, pattern: str) -> bool:
    """Whether the pattern is found in a text."""
    return re.search(pattern, text) is not None


def regex_replace(text: str, pattern: str, replacement: str) -> str:
    """A text in which everything that the pattern finds is replaced."""
    return re.sub(pattern, replacement, text)


FILTERS: Mapping[str, Callable[..., Any]] = {
    made.__name__: made
    for made in (
        nginx_quote,
        nginx_host,
        port,
        trusted,
        by_tag,
        parse_json,
        parse_bool,
        base64_decode,
        sha256_hex,
        split,
        regex_match,
        regex_replace,
    )
}
