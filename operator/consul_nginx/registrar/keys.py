"""Annotation keys: which are ours, which ports they mean, and which of several counts."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consul_nginx.model.kubernetes import GROUP
from consul_nginx.registrar.offers import TCP, UDP, Offer
from consul_nginx.registrar.warnings import Reason, Refused, shown_key

PREFIX = "SERVICE_"
LONG_PREFIX = f"{GROUP}/{PREFIX}"
MAX_KEYS = 256

# <port>_X or <from>-<to>_X, and within either tcp_X or udp_X. A port has no leading zero.
_SCOPED = re.compile(r"([0-9]+)(?:-([0-9]+))?_(?:(tcp|udp)_(?=.))?(.*)", re.ASCII | re.DOTALL)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The ports that a key means; ``low`` above ``high``: none."""

    low: int
    high: int
    protocol: str = ""
    is_range: bool = True

    def has_one_of(self, ports: Sequence[int]) -> bool:
        """Whether one of these ports, in their order, is in the range."""
        position = bisect_left(ports, self.low)
        return position < len(ports) and ports[position] <= self.high

    def of(self, by_port: Sequence[Offer]) -> Iterator[Offer]:
        """Those that are meant, of ports in their order."""
        for position in range(bisect_left(by_port, self.low, key=_port_of), len(by_port)):
            offer = by_port[position]
            if offer.port > self.high:
                return
            if self.protocol in ("", offer.protocol):
                yield offer

    @property
    def vagueness(self) -> tuple[int, bool, bool, int]:
        """The scope that means less sorts first."""
        return self.high - self.low, self.is_range, not self.protocol, self.low


ALL_PORTS = Scope(low=1, high=65535)


@dataclass(frozen=True, kw_only=True)
class Key:
    """An annotation: how it is written, which ports it means, what, and its value."""

    written: str
    scope: Scope
    word: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Values:
    """What holds for one port, by word in lower case."""

    by_word: Mapping[str, Key]

    def text(self, word: str) -> str:
        """The value, empty when there is none."""
        return self.by_word[word].value if word in self.by_word else ""

    def given(self, word: str) -> Key | None:
        """The annotation that has a value that isn't empty, if any has."""
        found = self.by_word.get(word)
        return found if found is not None and found.value else None

    def is_scoped(self, word: str) -> bool:
        """Whether a key that names the port decides, even if its value is empty."""
        return word in self.by_word and self.by_word[word].scope != ALL_PORTS


@dataclass(frozen=True, kw_only=True)
class Keys:
    """All annotations of a Pod: those for all ports, and the others."""

    generic: tuple[Key, ...]
    scoped: tuple[Key, ...]

    def value_for_all(self, word: str) -> Key | None:
        """The generic annotation of a Pod that declares no ports."""
        return next((key for key in self.generic if key.word == word and key.value), None)

    def by_offer(self, offers: Iterable[Offer]) -> Mapping[Offer, tuple[Key, ...]]:
        """What is annotated for each port; little more than ``MAX_KEYS``, however much there is."""
        found: dict[Offer, list[Key]] = {offer: [] for offer in offers}
        room = sorted(found, key=_port_of)
        for key in self.scoped:
            full = False
            for offer in key.scope.of(room):
                found[offer].append(key)
                full = full or len(found[offer]) > MAX_KEYS
            if full:
                room = [offer for offer in room if len(found[offer]) <= MAX_KEYS]
        return {offer: (*scoped, *self.generic) for offer, scoped in found.items()}

    def unused(self, offers: Sequence[Offer]) -> list[str]:
        """Annotations for ports that the Pod does not offer."""
        offered = {
            protocol: sorted(offer.port for offer in offers if protocol in ("", offer.protocol))
            for protocol in ("", TCP, UDP)
        }
        return [
            shown_key(key.written)
            for key in self.scoped
            if not key.scope.has_one_of(offered[key.scope.protocol])
        ]


def values_of(keys: tuple[Key, ...]) -> Values:
    """What holds for a port: a key that names it beats a generic one, also when it is empty.

    Raises ``Refused`` when two annotations that differ mean the same, or there are too many.
    """
    if len(keys) > MAX_KEYS:
        raise Refused(
            Reason.TOO_MANY_KEYS,
            f"more than {MAX_KEYS} keys that begin with {PREFIX} mean one port; leave some out",
        )
    found: dict[str, Key] = {}
    for key in sorted(keys, key=lambda key: key.scope.vagueness):
        first = found.setdefault(key.word, key)
        if first.scope == key.scope and first.value != key.value:
            raise Refused(
                Reason.CONFLICTING_KEYS,
                f"{shown_key(first.written)} and {shown_key(key.written)} mean the same and "
                "have different values; leave one of them",
            )
    return Values(by_word=found)


def is_key(written: str) -> bool:
    """Whether an annotation is for us."""
    return written.startswith((PREFIX, LONG_PREFIX))


def parse_keys(annotations: Mapping[str, str]) -> Keys:
    """Read a Pod's annotations; their order means nothing."""
    keys = list(_parsed(annotations))
    return Keys(
        generic=tuple(key for key in keys if key.scope == ALL_PORTS),
        scoped=tuple(key for key in keys if key.scope != ALL_PORTS),
    )


def _parsed(annotations: Mapping[str, str]) -> Iterator[Key]:
    for written, value in sorted(annotations.items()):
        rest = written.removeprefix(f"{GROUP}/").removeprefix(PREFIX).lower()
        match = _SCOPED.fullmatch(rest)
        if match is None:
            yield Key(written=written, scope=ALL_PORTS, word=rest, value=value)
        else:
            low, high, protocol, word = match.groups()
            scope = Scope(
                low=_port(low, default=65536),
                high=_port(low if high is None else high, default=0),
                protocol=(protocol or "").upper(),
                is_range=high is not None,
            )
            yield Key(written=written, scope=scope, word=word, value=value)


def _port(text: str, *, default: int) -> int:
    return int(text) if _PORT.fullmatch(text) else default


def _port_of(offer: Offer) -> int:
    return offer.port
