"""How requests and answers are passed on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from consul_nginx.model import mapping as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.durations import Between, seconds

SIZE = r"^(0|[1-9][0-9]{0,5}[kmg]?)$"

Condition = Literal[
    "error", "timeout", "invalid_header", "http_403", "http_404", "http_429", "http_500",
    "http_502", "http_503", "http_504",
]  # fmt: skip
# nginx keeps media types in a hash table whose buckets hold 46 characters, and no setting changes
# that.
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9.+*-]+$", max_length=46)]


class Timeouts(SpecModel):
    """How long nginx waits for an endpoint."""

    connect: Annotated[
        str,
        Between(low="50ms", high="75s"),
        Field(description="Until a connection is there; then the next endpoint is tried."),
    ] = "1s"
    read: Annotated[
        str,
        Between(low="100ms", high="24h"),
        Field(
            description=(
                "Between two reads of an answer; WebSocket and streaming connections end after "
                "this time of silence."
            )
        ),
    ] = "60s"
    send: Annotated[
        str, Between(low="100ms", high="24h"), Field(description="Between two writes of a request.")
    ] = "60s"
    idle: (
        Annotated[
            str,
            Between(low="100ms", high="24h"),
            Field(
                description=(
                    "Silence after which a TCP or UDP session ends; by default 10m for TCP and 60s "
                    "for UDP."
                )
            ),
        ]
        | None
    ) = None


class Retries(SpecModel):
    """When a request is given to the next endpoint."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=10,
            description="What an endpoint must have done, in words of nginx's proxy_next_upstream.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ("error", "timeout")
    attempts: Annotated[
        int,
        Field(ge=1, le=10, description="Endpoints that are tried at most; 1: no other."),
    ] = 3
    timeout: Annotated[
        str,
        Between(low="100ms", high="1h"),
        Field(description="Time after which no other is tried."),
    ] = "5s"
    non_idempotent: Annotated[
        bool,
        Field(
            description=(
                "Also give a POST, PATCH or LOCK to the next endpoint after it was sent to one, "
                "which may then have acted on it twice."
            )
        ),
    ] = False


class Buffering(SpecModel):
    """Whether nginx reads ahead of the slower side."""

    requests: Annotated[
        bool,
        Field(description="Read a whole request before an endpoint gets it, so that it is free."),
    ] = True
    responses: Annotated[
        bool,
        Field(description="Read answers ahead of the client; false for server-sent events."),
    ] = True


class Gzip(SpecModel):
    """Compression of answers for clients that accept it."""

    types: Annotated[
        tuple[MediaType, ...],
        Field(
            min_length=1,
            max_length=32,
            description="Media types that are compressed, text/html always.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = (
        "application/javascript",
        "application/json",
        "application/xml",
        "image/svg+xml",
        "text/css",
        "text/plain",
        "text/xml",
    )
    min_length: Annotated[
        int, Field(ge=0, le=1_000_000, description="Bytes from which on it is worth it.")
    ] = 256
    level: Annotated[int, Field(ge=1, le=9, description="1 is fast, 9 is small.")] = 4


def timeouts(spec: Timeouts) -> model.Timeouts:
    """The same for decisions."""
    return model.Timeouts(
        connect=seconds(spec.connect), read=seconds(spec.read), send=seconds(spec.send)
    )


def retries(spec: Retries) -> model.Retries:
    """The same for decisions."""
    return model.Retries(
        conditions=tuple(sorted(spec.conditions)),
        attempts=spec.attempts,
        timeout=seconds(spec.timeout),
        non_idempotent=spec.non_idempotent,
    )


def gzip(spec: Gzip | None) -> model.Gzip | None:
    """The same for decisions."""
    if spec is None:
        return None
    return model.Gzip(types=tuple(sorted(spec.types)), min_length=spec.min_length, level=spec.level)


def idle_timeout(spec: Timeouts) -> float | None:
    """Silence after which a TCP or UDP session ends, in seconds; None: nginx's own default."""
    return None if spec.idle is None else seconds(spec.idle)
