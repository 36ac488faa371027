"""Which pages of other sites may read answers (CORS)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.durations import Between, seconds
from consul_nginx.resources.headers import HeaderName
from consul_nginx.resources.matching import LABEL

ANY_WITH_CREDENTIALS = "browsers refuse credentials for *: name the origins"


def _is_origin(text: str) -> str:
    _, _, port = text.rpartition(":")
    if port.isdecimal() and not 1 <= int(port) <= 65535:
        raise ValueError("a port is from 1 to 65535")
    return text


Origin = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(\*|https?://(\*\.)?{LABEL}(\.{LABEL})*(:[0-9]{{1,5}})?)$", max_length=253
    ),
    AfterValidator(_is_origin),
]
Method = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]


class Cors(SpecModel):
    """Answers questions of browsers before their requests, and marks the answers of backends."""

    allow_origins: Annotated[
        tuple[Origin, ...],
        Field(
            min_length=1,
            max_length=32,
            description="Origins, such as https://shop.example.com, https://*.example.com or *.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ]
    allow_methods: Annotated[
        tuple[Method, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Methods of their requests.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ("GET", "HEAD", "POST")
    allow_headers: Annotated[
        tuple[HeaderName, ...],
        Field(
            max_length=32,
            description="Headers of their requests.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    expose_headers: Annotated[
        tuple[HeaderName, ...],
        Field(
            max_length=32,
            description="Headers of answers that they may read.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    allow_credentials: Annotated[
        bool, Field(description="Whether their requests may carry cookies.")
    ] = False
    max_age: Annotated[
        str,
        Between(low="0s", high="24h"),
        Field(description="How long a browser need not ask again."),
    ] = "5s"

    @model_validator(mode="after")
    def _can_be_trusted(self) -> Cors:
        if self.allow_credentials and "*" in self.allow_origins:
            raise FieldError("allowOrigins", ANY_WITH_CREDENTIALS)
        return self


CORS_RULES = [
    {
        "rule": "!self.allowCredentials || !self.allowOrigins.exists(o, o == '*')",
        "message": ANY_WITH_CREDENTIALS,
    }
]


def cors(spec: Cors | None) -> model.Cors | None:
    """The same for decisions."""
    if spec is None:
        return None
    return model.Cors(
        origins=tuple(sorted(spec.allow_origins)),
        methods=tuple(sorted(spec.allow_methods)),
        headers=tuple(sorted(spec.allow_headers)),
        exposed=tuple(sorted(spec.expose_headers)),
        credentials=spec.allow_credentials,
        max_age=seconds(spec.max_age),
    )
