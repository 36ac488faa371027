"""A service's tags."""

from __future__ import annotations

import re

from consul_nginx.model.names import MAX_TAG, is_tag
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.offers import UDP
from consul_nginx.registrar.warnings import invalid

MAX_TAGS = 128
MAX_LENGTH = 8192

_COMMA = re.compile(r"(?<!\\),")


def service_tags(port: Port, context: Context) -> tuple[str, ...]:
    """TAGS as written, ``udp`` for a UDP port, and the operator's own; each once.

    Raises ``Refused``.
    """
    key = port.values.given("tags")
    own = () if key is None else _written(key, context)
    udp = ("udp",) if port.offer.protocol == UDP else ()
    return tuple(dict.fromkeys((*own, *udp, *context.settings.tags)))


def _written(key: Key, context: Context) -> tuple[str, ...]:
    if len(key.value) > MAX_LENGTH:
        raise invalid(key.written, key.value, f"longer than {MAX_LENGTH} characters")
    pieces = (piece.replace("\\,", ",").strip() for piece in _COMMA.split(key.value))
    written = [piece for piece in pieces if piece]
    if len(written) > MAX_TAGS:
        raise invalid(key.written, key.value, f"{len(written)} tags; leave at most {MAX_TAGS}")
    found = tuple(context.expand(piece, key=key) for piece in written)
    for tag in found:
        if not is_tag(tag):
            raise invalid(
                key.written, tag, f"not a tag: printable, and at most {MAX_TAG} characters"
            )
    return found
