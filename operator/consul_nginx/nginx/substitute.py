"""A bundle without what nginx refused of it: one listener never holds up the others. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consul_nginx.model.bundle import MAIN_FILE, Bundle
from consul_nginx.model.secret_files import CERTIFICATE_PREFIX, USERS_PREFIX, stand_in

LISTENER_PREFIX = "listener-"
MIRRORS_FILE = "mirrors.conf"

_NOTHING: Mapping[str, str] = MappingProxyType({})

_UPSTREAM = re.compile(r"\bu_(?:[0-9a-f]{16}|mirrors)\b", re.ASCII)
_CERTIFICATE = re.compile(rf"\b{CERTIFICATE_PREFIX}[0-9a-f]{{16}}\.conf\b", re.ASCII)
_USERS = re.compile(rf"\b{USERS_PREFIX}[0-9a-f]{{16}}\.conf\b", re.ASCII)
_AUTHORITY = re.compile(r"\bauthority-[0-9a-f]{16}\.conf\b", re.ASCII)
_VARIABLE = re.compile(r"\$\{?(cors_[a-z]+_[0-9a-f]{16}|preflight|unmirrored_\d+)\b", re.ASCII)
_DEFINED = re.compile(r"^upstream (u_\w+) \{", re.ASCII | re.MULTILINE)


# By file of a listener or certificate, its texts that nginx refused, each with nginx's own words.
RefusedTexts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Substituted:
    """The bundle to write, and by file why it is not what was rendered, and what is served."""

    bundle: Bundle
    reasons: Mapping[str, str]


def exchangeable(
    files: Mapping[str, str], *, before: Mapping[str, str] = _NOTHING
) -> dict[str, str]:
    """The files that can take the place of what nginx refuses: those of listeners, certificates.

    One that was left out proves nothing: it is as it was ``before``.
    """
    return {
        name: before.get(name, text) if text == _left_out(name) else text
        for name, text in files.items()
        if _left_out(name) is not None
    }


def substitute(*, bundle: Bundle, refused: RefusedTexts, proven: Mapping[str, str]) -> Substituted:
    """Exchange each listener and certificate that nginx refused, while it is rendered the same.

    In its place comes what nginx ran before (``proven``); one that it never ran, or refuses now as
    well, is left out. So no file has more than three texts that are tried. Where an earlier one
    needs upstreams, files or variables that are gone, nothing is exchanged at all: the agents then
    keep the whole bundle that they run.
    """
    exchanged = {
        name: instead
        for name, texts in refused.items()
        if bundle.files.get(name) in texts
        and (instead := _instead(name, refused=texts, proven=proven)) is not None
    }
    defined = {found for text in bundle.files.values() for found in _DEFINED.findall(text)}
    for file in (MAIN_FILE, MIRRORS_FILE):
        defined |= set(_VARIABLE.findall(bundle.files.get(file, "")))
    needed = {
        found
        for text in exchanged.values()
        for pattern in (_UPSTREAM, _CERTIFICATE, _USERS, _AUTHORITY, _VARIABLE)
        for found in pattern.findall(text)
    }
    if not exchanged or not needed <= defined | bundle.files.keys():
        return Substituted(bundle=bundle, reasons={})
    return Substituted(
        bundle=Bundle.of({**bundle.files, **exchanged}, secrets=bundle.secrets),
        reasons={
            name: _reason(name, rendered=bundle.files[name], refused=refused[name], proven=proven)
            for name in exchanged
        },
    )


def _instead(name: str, *, refused: Mapping[str, str], proven: Mapping[str, str]) -> str | None:
    """What to try in the place of a file; None: there is nothing."""
    left_out = _left_out(name)
    if left_out is None:
        return None
    candidates = (proven.get(name, left_out), left_out)
    return next((text for text in candidates if text not in refused), None)


def _reason(
    name: str, *, rendered: str, refused: Mapping[str, str], proven: Mapping[str, str]
) -> str:
    before = proven.get(name, "")
    if before in ("", _left_out(name)):
        return f"{refused[rendered]}; it is left out"
    if before in refused:
        return (
            f"{refused[rendered]}; what nginx ran of it before is refused as well: "
            f"{refused[before]}; it is left out"
        )
    return f"{refused[rendered]}; what nginx ran of it before is served on"


def _left_out(name: str) -> str | None:
    """A file that does nothing in its place; None: the others need this one."""
    if name.startswith(CERTIFICATE_PREFIX):
        return stand_in(name)
    return "" if name.startswith(LISTENER_PREFIX) else None
