"""Who may ask, and how much."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.balancing import HASH_KEY_RULES, HashKey
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.texts import Network

SAYS_NOTHING = "says nothing: name networks in allow or in deny"


class AccessControl(SpecModel):
    """Addresses of clients that are served; the others are answered 403, or closed."""

    allow: Annotated[
        tuple[Network, ...],
        Field(
            max_length=256,
            description="Networks that are served; if there are any, no others are.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    deny: Annotated[
        tuple[Network, ...],
        Field(
            max_length=256,
            description="Networks that are not served, even if allow has them.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()

    @model_validator(mode="after")
    def _says_something(self) -> AccessControl:
        if not self.allow and not self.deny:
            raise FieldError("allow", SAYS_NOTHING)
        return self


ACCESS_RULES = [
    {"rule": "self.allow.size() + self.deny.size() > 0", "message": SAYS_NOTHING},
]


class RequestLimit(SpecModel):
    """How many requests each client may send; what is more is answered 429."""

    rate: Annotated[int, Field(ge=1, le=100_000, description="Requests in each period.")]
    period: Annotated[
        Literal["Second", "Minute"], Field(description="Period that the rate is for.")
    ] = "Second"
    burst: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="Requests that may come earlier than the rate allows, and are not delayed.",
        ),
    ] = 0
    key: Annotated[
        HashKey,
        Field(
            description="What tells clients from each other.",
            json_schema_extra={"x-kubernetes-validations": HASH_KEY_RULES},
        ),
    ] = HashKey()


class Limits(SpecModel):
    """How much each client may ask for, of each nginx pod."""

    requests: Annotated[RequestLimit | None, Field(description="Requests of a client (HTTP).")] = (
        None
    )
    connections: Annotated[
        int,
        Field(
            ge=0,
            le=65_535,
            description=(
                "Open connections of a client's address (HTTP/2: requests); 0: any number. What is "
                "more is answered 429, or closed."
            ),
        ),
    ] = 0


def access_control(spec: AccessControl | None) -> model.AccessControl:
    """The same for decisions."""
    if spec is None:
        return model.AccessControl()
    return model.AccessControl(
        allow=tuple(sorted(set(spec.allow))), deny=tuple(sorted(set(spec.deny)))
    )


def limits(spec: Limits) -> model.Limits:
    """The same for decisions."""
    requests = spec.requests
    return model.Limits(
        requests=None
        if requests is None
        else model.RequestLimit(
            rate=requests.rate,
            per_minute=requests.period == "Minute",
            burst=requests.burst,
            key=model.HashKey(type=model.HashKeyType(requests.key.type), name=requests.key.name),
        ),
        connections=spec.connections,
    )
