"""A service's tags."""

from __future__ import annotations

import re

from consul_nginx.model.names import MAX_TAG, is_tag
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.offers import UDP
from consul_nginx.registrar.warnings import invalid

MAX_TAGS = 128

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
    pieces = (piece.replace("\\,", ",").strip() for piece in _COMMA.split(key.value))
    found = tuple(context.expand(piece, key=key) for piece in pieces if piece)
    if len(found) > MAX_TAGS:
        raise invalid(key.written, key.value, f"{len(found)} tags; leave at most {MAX_TAGS}")
    for tag in found:
        if not is_tag(tag):
            raise invalid(
                key.written, tag, f"not a tag: printable, and at most {MAX_TAG} characters"
            )
    return found
