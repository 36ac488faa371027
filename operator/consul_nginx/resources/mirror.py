"""Copies of requests, for backends whose answers nobody gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.backends import NO_SHARE, Backend, group_of
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.durations import Between, seconds

NEEDS_BACKENDS = "a mirror gets copies of what backends get: without these there is nothing to copy"
NEEDS_WHOLE_REQUESTS = (
    "a request is copied when all of it is there: a mirror needs a backendProtocol of HTTP or "
    "HTTPS and buffering.requests"
)
KEEPS_PATHS = "copies have the path that the client asks for: a mirror can't have a replacePrefix"


class Mirror(SpecModel):
    """Copies of requests go to other backends too, and their answers are thrown away."""

    backends: Annotated[
        tuple[Backend, ...],
        Field(
            min_length=1,
            max_length=16,
            description=(
                "Consul services that copies go to, by their weights; spoken with as with the "
                "mapping's backends."
            ),
            json_schema_extra={
                "x-kubernetes-validations": [
                    {"rule": "self.exists(b, b.weight > 0)", "message": NO_SHARE}
                ]
            },
        ),
    ]
    percent: Annotated[
        int, Field(ge=1, le=100, description="Of a hundred requests, how many are copied.")
    ] = 100
    timeout: Annotated[
        str,
        Between(low="100ms", high="1m"),
        Field(
            description=(
                "How long nginx waits for the answer to a copy before it closes the connection; no "
                "client waits for it, but each copy under way takes connections."
            )
        ),
    ] = "2s"

    @model_validator(mode="after")
    def _has_shares(self) -> Mirror:
        if not any(item.weight for item in self.backends):
            raise FieldError("backends", NO_SHARE)
        return self


MIRROR_RULES = (
    {"rule": "!has(self.mirror) || self.backends.size() > 0", "message": NEEDS_BACKENDS},
    {
        "rule": (
            "!has(self.mirror) || (self.backendProtocol in ['HTTP', 'HTTPS'] && "
            "self.buffering.requests)"
        ),
        "message": NEEDS_WHOLE_REQUESTS,
    },
    {"rule": "!has(self.mirror) || !has(self.replacePrefix)", "message": KEEPS_PATHS},
)


def objection(
    *, has_backends: bool, protocol: str, buffers_requests: bool, replaces_prefix: bool
) -> str | None:
    """What speaks against a mirror of a mapping that is so."""
    if not has_backends:
        return NEEDS_BACKENDS
    if protocol not in ("HTTP", "HTTPS") or not buffers_requests:
        return NEEDS_WHOLE_REQUESTS
    return KEEPS_PATHS if replaces_prefix else None


def mirror(
    spec: Mirror | None, *, protocol: model.BackendProtocol, tls: model.BackendTls | None
) -> model.Mirror | None:
    """The same for decisions, with what is spoken with the mapping's backends."""
    if spec is None:
        return None
    return model.Mirror(
        group=group_of(spec.backends, protocol=protocol, tls=tls),
        percent=spec.percent,
        timeout=seconds(spec.timeout),
    )
