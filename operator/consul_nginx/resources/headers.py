"""Headers that are set and removed on the way."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.model.variables import HEADER_VARIABLES, unknown_variable
from consul_nginx.resources.base import FieldError, SpecModel

# RFC 9110: a token, without what only programs would come up with. nginx keeps the names in a hash
# table whose buckets hold 46 characters; for gRPC it has no setting for that.
HeaderName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=46)
]
SET_TWICE = "a header can be set once; its case does not matter"
SET_AND_REMOVED = "a header can't be both set and removed"

# nginx needs these for itself, or they would let a mapping cut messages in pieces.
_KEPT = ("connection", "content-length", "transfer-encoding", "upgrade")
_KEPT_REMOVED = (*_KEPT, "host")
KEPT = "nginx sets these itself"


def _variables_known(text: str) -> str:
    if (name := unknown_variable(text, known=HEADER_VARIABLES)) is not None:
        raise ValueError(
            f"{name} is no variable that can be used: write $$ for a dollar sign, or one of "
            f"{', '.join(f'${item}' for item in sorted(HEADER_VARIABLES))}"
        )
    return text


HeaderValue = Annotated[
    str, StringConstraints(pattern=r"^[ -~]*$", max_length=512), AfterValidator(_variables_known)
]


class Header(SpecModel):
    """A header and its value."""

    name: Annotated[HeaderName, Field(description="Name of the header.")]
    value: Annotated[
        HeaderValue,
        Field(
            description=(
                "Value, in ASCII. $remote_addr, $request_id and some other variables of nginx's "
                "stand for what they say; $$ is a dollar sign."
            )
        ),
    ]


class Headers(SpecModel):
    """Changes of the headers of a message."""

    set: Annotated[
        tuple[Header, ...],
        Field(
            max_length=32,
            description="Headers that are set, in place of those of the same name.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    remove: Annotated[
        tuple[HeaderName, ...],
        Field(
            max_length=32,
            description="Headers that are not passed on.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()

    @model_validator(mode="after")
    def _clear(self) -> Headers:
        names = [item.name.lower() for item in self.set]
        removed = {name.lower() for name in self.remove}
        if len(set(names)) < len(names):
            raise FieldError("set", SET_TWICE)
        if removed & set(names):
            raise FieldError("remove", SET_AND_REMOVED)
        for field, found, kept in (("set", {*names}, _KEPT), ("remove", removed, _KEPT_REMOVED)):
            if found & {*kept}:
                raise FieldError(field, f"{', '.join(kept)}: {KEPT}")
        return self


HEADERS_RULES = [
    {
        "rule": (
            "self.set.all(s, self.set.exists_one(t, t.name.lowerAscii() == s.name.lowerAscii()))"
        ),
        "message": SET_TWICE,
        "fieldPath": ".set",
    },
    {
        "rule": "!self.set.exists(s, self.remove.exists(r, r.lowerAscii() == s.name.lowerAscii()))",
        "message": SET_AND_REMOVED,
        "fieldPath": ".remove",
    },
    {
        "rule": f"!self.set.exists(s, s.name.lowerAscii() in {list(_KEPT)})",
        "message": f"{', '.join(_KEPT)}: {KEPT}",
        "fieldPath": ".set",
    },
    {
        "rule": f"!self.remove.exists(r, r.lowerAscii() in {list(_KEPT_REMOVED)})",
        "message": f"{', '.join(_KEPT_REMOVED)}: {KEPT}",
        "fieldPath": ".remove",
    },
]


def headers(spec: Headers) -> model.Headers:
    """The same for decisions, in order of names."""
    return model.Headers(
        set=tuple(sorted((item.name, item.value) for item in spec.set)),
        remove=tuple(sorted(spec.remove)),
    )
