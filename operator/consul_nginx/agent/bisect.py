"""Which files of a refused bundle are to blame: the search, from one trial to the next. Pure.

A *trial* is the refused bundle with some files exchanged for those of the good one, or left out
where the good one has none. Wanted is the smallest set of files whose exchange lets ``nginx -t``
pass. nginx's own words come first: it names a file, and when that one is exchanged, the next. Where
they lead nowhere, all files that changed are halved again and again (ddmin: Zeller, Hildebrandt,
"Simplifying and Isolating Failure-Inducing Input", 2002).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consul_nginx.model.bundle import ENDPOINTS_PREFIX, HASH_FILE, MAIN_FILE
from consul_nginx.model.secret_files import stand_in

_PLACE = re.compile(r" in (?:\S*/)?([a-z0-9][a-z0-9.-]{0,99}\.conf):[0-9]+", re.ASCII)
_BIND = re.compile(r"(?:bind|listen)\(\) to (\S+?),? (?:backlog \d+ )?failed", re.ASCII)
_ZONE = re.compile(r'\b(?:limit_req|limit_conn(?:_zone)?|cache) "([^"]+)" uses the ', re.ASCII)
_LISTEN = re.compile(r"(?:^|[;{])\s*listen\s+([^\s;]+)", re.ASCII | re.MULTILINE)

Search = Generator[frozenset[str], "Verdict", None]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What ``nginx -t`` said of a trial; ``files`` are those that it named."""

    passes: bool
    files: tuple[str, ...] = ()


def changed(*, refused: Mapping[str, str], good: Mapping[str, str]) -> list[str]:
    """The files that may be to blame: other ones than the good bundle's.

    The main file alone can't be left out, so without a good one it can't be blamed.
    """
    return sorted(
        name
        for name, text in refused.items()
        if good.get(name) != text
        and name != HASH_FILE
        and not (name == MAIN_FILE and name not in good)
    )


def trial(
    *, refused: Mapping[str, str], good: Mapping[str, str], exchanged: Iterable[str]
) -> dict[str, str]:
    """The files of a trial. A file that neither bundle includes does no harm."""
    return {
        **good,
        **refused,
        **{name: good.get(name, _left_out(name)) for name in exchanged},
    }


def _left_out(name: str) -> str:
    """Nothing; but an upstream needs a server, and what names files of Secrets its stand-in."""
    if (text := stand_in(name)) is not None:
        return text
    return "server 127.0.0.1:1 down;\n" if name.startswith(ENDPOINTS_PREFIX) else ""


def named(message: str) -> tuple[str, ...]:
    """The bundle's files that nginx named, in its order."""
    return tuple(dict.fromkeys(_PLACE.findall(message)))


def holders(message: str, files: Mapping[str, str]) -> tuple[str, ...]:
    """The files with the address that could not be bound, or the zone that may not change.

    Such a failure names no file, and ``nginx -t`` does not see it.
    """
    addresses = set(_BIND.findall(message))
    zones = [re.escape(name) for name in _ZONE.findall(message)]
    # With the colon: where it is defined, not where it is used.
    zone = re.compile(rf"zone=(?:{'|'.join(zones)}):") if zones else None
    return tuple(
        name
        for name, text in sorted(files.items())
        if addresses & {_bound(word) for word in _LISTEN.findall(text)}
        or (zone and zone.search(text))
    )


def _bound(listen: str) -> str:
    """The address of a ``listen`` directive as nginx writes it when it can't have it."""
    if listen.isdecimal():
        return f"0.0.0.0:{listen}"
    if listen.startswith("*:"):
        return f"0.0.0.0:{listen[2:]}"
    has_port = listen.startswith("unix:") or re.search(r":\d+$", listen.rpartition("]")[2])
    return listen if has_port else f"{listen}:80"


def search(*, suspects: Sequence[str], named: Sequence[str] | None) -> Search:
    """Yields what to exchange, is sent the verdict, and ends when nothing smaller can be found.

    The answer is the smallest set that passed. ``named`` are the files that ``nginx -t`` named;
    None when it was not asked: the first trial then exchanges nothing, and what passes is no
    file's fault.
    """
    if named is None:
        verdict = yield frozenset()
        if verdict.passes:
            return
        named = verdict.files
    found = yield from _by_name(suspects=suspects, named=named)
    if not found:
        everything = frozenset(suspects)
        if not everything or not (yield everything).passes:
            return
        found = everything
    yield from _smaller(found)


def _by_name(
    *, suspects: Sequence[str], named: Sequence[str]
) -> Generator[frozenset[str], Verdict, frozenset[str]]:
    """Follow nginx's words from file to file; empty when they lead nowhere."""
    accused: frozenset[str] = frozenset()
    more = frozenset(named).intersection(suspects)
    while more:
        accused |= more
        verdict = yield accused
        if verdict.passes:
            return accused
        more = frozenset(verdict.files).intersection(suspects) - accused
    return frozenset()


def _smaller(found: frozenset[str]) -> Search:
    parts = 2
    while len(found) > 1:
        names = sorted(found)
        pieces = [frozenset(names[at::parts]) for at in range(parts)]
        rests = [found - piece for piece in pieces] if parts > 2 else []
        for candidate in (*pieces, *rests):
            if (yield candidate).passes:
                parts = 2 if candidate in pieces else max(parts - 1, 2)
                found = candidate
                break
        else:
            if parts == len(found):
                return
            parts = min(2 * parts, len(found))
