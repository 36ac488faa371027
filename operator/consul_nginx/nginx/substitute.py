"""A bundle without what nginx refused of it: one listener never holds up the others. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from consul_nginx.model.bundle import MAIN_FILE, Bundle
from consul_nginx.model.secret_files import CERTIFICATE_PREFIX, NO_CERTIFICATE

LISTENER_PREFIX = "listener-"

_UPSTREAM = re.compile(r"\bu_[0-9a-f]{16}\b", re.ASCII)
_CERTIFICATE = re.compile(rf"\b{CERTIFICATE_PREFIX}[0-9a-f]{{16}}\.conf\b", re.ASCII)
_AUTHORITY = re.compile(r"\bauthority-[0-9a-f]{16}\.conf\b", re.ASCII)
_VARIABLE = re.compile(r"\$\{?(cors_[a-z]+_[0-9a-f]{16}|preflight)\b", re.ASCII)
_DEFINED = re.compile(r"^upstream (u_[0-9a-f]{16}) \{", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A listener's or certificate's file as nginx refused it, and why in nginx's own words."""

    text: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Substituted:
    """The bundle to write, and by file why it is not what was rendered."""

    bundle: Bundle
    reasons: Mapping[str, str]


def exchangeable(files: Mapping[str, str]) -> dict[str, str]:
    """The files that can take the place of what nginx refuses: those of listeners, certificates."""
    return {
        name: text
        for name, text in files.items()
        if name.startswith((LISTENER_PREFIX, CERTIFICATE_PREFIX))
    }


def substitute(
    *, bundle: Bundle, refused: Mapping[str, Refused], proven: Mapping[str, str]
) -> Substituted:
    """Exchange each listener and certificate that nginx refused, while it is rendered the same.

    In its place comes what nginx ran before (``proven``); one that it never ran is left out. Where
    an earlier one needs upstreams, files or variables that are gone, nothing is exchanged at all:
    the agents then keep the whole bundle that they run.
    """
    exchanged = {
        name: proven.get(name, left_out)
        for name, file in refused.items()
        if (left_out := _left_out(name)) is not None and bundle.files.get(name) == file.text
    }
    defined = {found for text in bundle.files.values() for found in _DEFINED.findall(text)}
    defined |= set(_VARIABLE.findall(bundle.files[MAIN_FILE]))
    needed = {
        found
        for text in exchanged.values()
        for pattern in (_UPSTREAM, _CERTIFICATE, _AUTHORITY, _VARIABLE)
        for found in pattern.findall(text)
    }
    if not exchanged or not needed <= defined | bundle.files.keys():
        return Substituted(bundle=bundle, reasons={})
    return Substituted(
        bundle=Bundle.of({**bundle.files, **exchanged}, secrets=bundle.secrets),
        reasons={name: refused[name].message for name in exchanged},
    )


def _left_out(name: str) -> str | None:
    """A file that does nothing in its place; None: the others need this one."""
    if name.startswith(CERTIFICATE_PREFIX):
        return NO_CERTIFICATE
    return "" if name.startswith(LISTENER_PREFIX) else None
