"""A service's Meta: every key that has no meaning of its own."""

from __future__ import annotations

import re

from consul_nginx.model.registration import MARKS
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.vocabulary import CHECK_PREFIX, WORDS
from consul_nginx.registrar.warnings import Reason, listed, shown, shown_key

# Consul's limits; it counts bytes of a value.
MAX_PAIRS = 64
MAX_VALUE_BYTES = 512
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_CONSULS = "consul-"
_OURS = "consul_nginx_"

_ROOM = MAX_PAIRS - len(MARKS)


def service_meta(port: Port, context: Context) -> dict[str, str]:
    """Pairs of Meta without the operator's own; what Consul would not take is left out."""
    by_word, warnings = port.values.by_word, context.warnings
    pairs: dict[str, str] = {}
    surplus: list[str] = []
    for word in sorted(by_word.keys() - WORDS):
        if word.startswith(CHECK_PREFIX):
            continue
        key = by_word[word]
        if len(pairs) == _ROOM:
            surplus.append(shown_key(key.written))
            continue
        value = context.expand(key.value, key=key)
        objection = _objection(word, value)
        if objection:
            warnings.add(
                Reason.META_DROPPED, f"{shown_key(key.written)}: {shown(value)}: {objection}"
            )
        else:
            pairs[word] = value
    if surplus:
        warnings.add(
            Reason.META_DROPPED,
            f"{listed(surplus)}: Consul takes {MAX_PAIRS} pairs of Meta, and {len(MARKS)} are the "
            f"operator's; leave at most {_ROOM}",
        )
    return pairs


def _objection(word: str, value: str) -> str:
    if word.startswith((_CONSULS, _OURS)):
        return f"keys of Meta that begin with {_CONSULS} or {_OURS} are not yours; choose another"
    if not _KEY.fullmatch(word):
        return "not a key of Meta: letters, digits, _ and -, at most 128 characters"
    if not value.isprintable():
        return "dropped from Meta: it has characters that are not printable"
    if len(value.encode()) > MAX_VALUE_BYTES:
        return f"dropped from Meta: longer than {MAX_VALUE_BYTES} bytes"
    return ""
