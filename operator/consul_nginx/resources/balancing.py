"""How requests are spread over endpoints, and how many may be at each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.durations import Between, seconds

NAME_MISSING = "a Header, Cookie or QueryParameter needs a name, the others have none"
NO_DASH = "nginx can't look at a cookie or query parameter with a dash in its name"
_NAMED = ("Header", "Cookie", "QueryParameter")


class HashKey(SpecModel):
    """What of a request decides which endpoint gets it."""

    type: Annotated[
        Literal["ClientIP", "URI", "Header", "Cookie", "QueryParameter"],
        Field(description="Part of the request; TCP and UDP know ClientIP only."),
    ] = "ClientIP"
    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_-]*$", max_length=64),
        Field(description="Name of the header, cookie or query parameter."),
    ] = ""

    @model_validator(mode="after")
    def _named(self) -> HashKey:
        if (self.type in _NAMED) != bool(self.name):
            raise FieldError("name", NAME_MISSING)
        if self.type != "Header" and "-" in self.name:
            raise FieldError("name", NO_DASH)
        return self


HASH_KEY_RULES = [
    {
        "rule": "(self.type in ['Header', 'Cookie', 'QueryParameter']) == (self.name != '')",
        "message": NAME_MISSING,
    },
    {
        "rule": "self.type == 'Header' || !self.name.contains('-')",
        "message": NO_DASH,
    },
]

SLOW_START = "with IPHash and ConsistentHash, each step would move clients: leave slowStart out"

BALANCING_RULES = [
    {
        "rule": (
            "!(self.algorithm in ['IPHash', 'ConsistentHash']) || "
            "duration(self.slowStart) == duration('0s')"
        ),
        "message": SLOW_START,
    }
]


class Keepalive(SpecModel):
    """Connections to endpoints that are kept for later requests (nginx: keepalive)."""

    connections: Annotated[
        int,
        Field(ge=0, le=10_000, description="Idle connections that each worker keeps; 0: none."),
    ] = 32
    requests: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="Requests after which a connection is closed."),
    ] = 1000
    timeout: Annotated[
        str,
        Between(low="1s", high="1h"),
        Field(
            description="For how long a connection may be idle; less than the applications allow."
        ),
    ] = "60s"


class Sticky(SpecModel):
    """A cookie of nginx's that keeps a client with the instance it had first."""

    cookie: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64),
        Field(description="Name of the cookie."),
    ]
    max_age: (
        Annotated[
            str,
            Between(low="1s", high="8760h"),
            Field(description="How long it is kept; by default until the browser is closed."),
        ]
        | None
    ) = None
    secure: Annotated[bool, Field(description="It is sent over HTTPS only.")] = False


class Balancing(SpecModel):
    """How requests are spread over endpoints."""

    algorithm: Annotated[
        Literal["RoundRobin", "LeastConnections", "RandomTwo", "IPHash", "ConsistentHash"],
        Field(
            description=(
                "RoundRobin: in turns. LeastConnections: to who has the fewest. RandomTwo: to the "
                "less busy of two. IPHash: a client's to the same endpoint. ConsistentHash: "
                "requests with the same hashKey to the same endpoint, of which few move when "
                "endpoints come and go. Weights from Consul count in all of them."
            )
        ),
    ] = "RoundRobin"
    hash_key: Annotated[
        HashKey,
        Field(
            description="With ConsistentHash: what decides.",
            json_schema_extra={"x-kubernetes-validations": HASH_KEY_RULES},
        ),
    ] = HashKey()
    max_connections: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description=(
                "Connections to one endpoint at a time from one nginx pod; 0: no limit. What is "
                "more goes to another endpoint, or is answered 502."
            ),
        ),
    ] = 0
    slow_start: Annotated[
        str,
        Between(low="0s", high="1h"),
        Field(
            description=(
                "An endpoint that is new or returns gets a quarter of its share, then two and "
                "three quarters, and all of it after this time."
            )
        ),
    ] = "0s"
    keepalive: Annotated[Keepalive, Field(description="Connections that are kept (HTTP).")] = (
        Keepalive()
    )
    sticky: Annotated[
        Sticky | None,
        Field(description="Keeps a client with its instance while that is served (HTTP)."),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Balancing:
        if self.algorithm in ("IPHash", "ConsistentHash") and seconds(self.slow_start):
            raise FieldError("slowStart", SLOW_START)
        return self


def balancing(spec: Balancing) -> model.Balancing:
    """The same for decisions; a key that is not used is none."""
    algorithm = model.Algorithm(spec.algorithm)
    key = model.HashKey()
    if algorithm is model.Algorithm.CONSISTENT_HASH:
        key = model.HashKey(type=model.HashKeyType(spec.hash_key.type), name=spec.hash_key.name)
    return model.Balancing(
        algorithm=algorithm,
        hash_key=key,
        max_connections=spec.max_connections,
        keepalive=model.Keepalive(
            connections=spec.keepalive.connections,
            requests=spec.keepalive.requests,
            timeout=seconds(spec.keepalive.timeout),
        ),
        sticky=_sticky(spec.sticky),
    )


def _sticky(spec: Sticky | None) -> model.Sticky | None:
    if spec is None:
        return None
    max_age = seconds(spec.max_age) if spec.max_age is not None else None
    return model.Sticky(cookie=spec.cookie, max_age=max_age, secure=spec.secure)
