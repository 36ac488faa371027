"""Which requests a mapping takes: host names and paths."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.regular_expressions import objection

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = rf"(\*\.)?{LABEL}(\.{LABEL})*"
_IPV6 = r"\[[0-9a-f:]{2,39}\]"


def _is_address(text: str) -> str:
    """Refuse brackets around what is none, or not as browsers write it: nothing would match it."""
    if text.startswith("["):
        try:
            canonical = str(ipaddress.IPv6Address(text.strip("[]")))
        except ValueError as error:
            raise ValueError("what is in brackets must be an IPv6 address") from error
        if text != f"[{canonical}]":
            raise ValueError(f"clients write this address as [{canonical}]")
    return text


Hostname = Annotated[
    str,
    StringConstraints(pattern=rf"^({_NAME}|{_IPV6})$", max_length=253),
    AfterValidator(_is_address),
]

# What a path is written of without any escaping (RFC 3986: pchar), but for quotes, ';' and '$'.
PATH_CHARACTERS = r"A-Za-z0-9._~!&()*+,=:@-"
PLAIN_PATH = rf"^/([{PATH_CHARACTERS}]+(/[{PATH_CHARACTERS}]+)*/?)?$"
_EXPRESSION = r"^\^?/[A-Za-z0-9/._~!&,=:@^$*+?|(){}\[\]\\-]*$"

NOT_A_PATH = (
    "a path begins with '/', has no empty segment, and is written of letters, digits and "
    "._~!&()*+,=:@-"
)


class Path(SpecModel):
    """Which request paths are meant."""

    type: Annotated[
        Literal["Prefix", "Exact", "RegularExpression"],
        Field(
            description=(
                "Exact: this path. RegularExpression: paths that begin with what the expression "
                "matches. Prefix: whole path segments, /shop takes /shop and /shop/x, not "
                "/shopping. Of several mappings of a host, an exact path wins over expressions, "
                "those (the longest first) over prefixes, and of these the longest."
            )
        ),
    ] = "Prefix"
    value: Annotated[
        str,
        StringConstraints(pattern=rf"{PLAIN_PATH}|{_EXPRESSION}", max_length=512),
        Field(description="Path, or the expression that it is compared with."),
    ] = "/"

    @model_validator(mode="after")
    def _fits(self) -> Path:
        if self.type != "RegularExpression":
            if not _is_plain(self.value):
                raise FieldError("value", NOT_A_PATH)
        elif (why := objection(self.value)) is not None:
            raise FieldError("value", why)
        return self


PATH_RULES = [
    {
        "rule": f"self.type == 'RegularExpression' || self.value.matches('{PLAIN_PATH}')",
        "message": NOT_A_PATH,
        "fieldPath": ".value",
    },
    {
        "rule": "self.type != 'RegularExpression' || self.value.size() <= 200",
        "message": "a regular expression has at most 200 characters",
        "fieldPath": ".value",
    },
]


def path(spec: Path) -> model.Path:
    """The same for decisions: ``/shop/`` and ``/shop`` are one prefix."""
    kind = model.PathType(spec.type)
    match kind:
        case model.PathType.PREFIX:
            value = spec.value.rstrip("/") or "/"
        case model.PathType.REGULAR_EXPRESSION:
            value = spec.value.removeprefix("^")
        case model.PathType.EXACT:
            value = spec.value
    return model.Path(type=kind, value=value)


def _is_plain(text: str) -> bool:
    return re.fullmatch(PLAIN_PATH, text, re.ASCII) is not None
