"""A service that is asked whether requests are served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.resources.backend_tls import (
    BACKEND_TLS_RULES,
    NEEDS_TLS,
    BackendTls,
    backend_tls,
)
from consul_nginx.resources.backends import NO_SHARE, Backend, group_of
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.durations import Between, seconds
from consul_nginx.resources.headers import HeaderName
from consul_nginx.resources.matching import LABEL, PATH_CHARACTERS, PLAIN_PATH

NEEDS_BACKENDS = "what nginx answers itself is for everybody: externalAuth needs backends"
ANSWERED_TWICE = "a header can be named once; its case does not matter"
# nginx sends a 401 of its own there, too: no browser would ask for the password that is missing.
NOBODY_SIGNS_IN = (
    "with basicAuth, externalAuth has no signInUrl: clients would be sent there before anybody "
    "asks them for the password"
)
SET_BY_BOTH = "externalAuth.responseHeaders and requestHeaders can't both say what a header is"

# nginx needs these for itself, or an answer to them would be none to the question.
_NOT_TOLD = (
    "connection", "content-length", "expect", "host", "if-match", "if-modified-since",
    "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "range", "te",
    "transfer-encoding", "upgrade",
)  # fmt: skip
_NOT_ANSWERED = ("connection", "content-length", "host", "transfer-encoding", "upgrade")
NOT_TOLD = f"{', '.join(_NOT_TOLD)}: the service is told of none, or of nginx's own"
NOT_ANSWERED = f"{', '.join(_NOT_ANSWERED)}: nginx sets these itself"


class ExternalAuth(SpecModel):
    """Requests are served when a service answers 2xx to a question about them.

    401 and 403 are the client's answer then; anything else, and no answer, is 500.
    """

    backends: Annotated[
        tuple[Backend, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Consul services that are asked, by their weights.",
            json_schema_extra={
                "x-kubernetes-validations": [
                    {"rule": "self.exists(b, b.weight > 0)", "message": NO_SHARE}
                ]
            },
        ),
    ]
    path: Annotated[
        Annotated[str, StringConstraints(pattern=PLAIN_PATH, max_length=512)],
        Field(description="Path of the question, which is a GET without a body."),
    ] = "/"
    backend_protocol: Annotated[
        Literal["HTTP", "HTTPS"], Field(description="What is spoken with the service.")
    ] = "HTTP"
    backend_tls: Annotated[
        BackendTls | None,
        Field(
            description="What is asked of its certificates; by default nothing.",
            json_schema_extra={"x-kubernetes-validations": BACKEND_TLS_RULES},
        ),
    ] = None
    request_headers: Annotated[
        tuple[HeaderName, ...] | None,
        Field(
            max_length=32,
            description=(
                "Headers of the client's that it is told of, such as Cookie and Authorization; by "
                "default all. Always, in nginx's words: Host, X-Real-IP, X-Forwarded-For, -Host, "
                "-Proto, -Method and -Uri, X-Original-Method, -URI and -URL."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    response_headers: Annotated[
        tuple[HeaderName, ...],
        Field(
            max_length=16,
            description=(
                "Headers of its answer that the backends get; those that it does not answer they "
                "don't get, whatever the client sends."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    timeout: Annotated[
        str,
        Between(low="100ms", high="1m"),
        Field(description="How long nginx waits for its answer; after that, another is asked."),
    ] = "5s"
    sign_in_url: Annotated[
        Annotated[
            str,
            StringConstraints(
                pattern=rf"^https?://{LABEL}(\.{LABEL})*(:[0-9]{{1,5}})?(/[/{PATH_CHARACTERS}]*)?$",
                max_length=512,
            ),
        ]
        | None,
        Field(
            description=(
                "Where clients are sent (302) when it answers 401, with the URL that they asked "
                "for behind ?rd=, not escaped; not with basicAuth."
            )
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> ExternalAuth:
        if not any(item.weight for item in self.backends):
            raise FieldError("backends", NO_SHARE)
        if self.backend_tls is not None and self.backend_protocol != "HTTPS":
            raise FieldError("backendTls", NEEDS_TLS)
        told = {name.lower() for name in self.request_headers or ()}
        if told & {*_NOT_TOLD}:
            raise FieldError("requestHeaders", NOT_TOLD)
        answered = [name.lower() for name in self.response_headers]
        if {*answered} & {*_NOT_ANSWERED}:
            raise FieldError("responseHeaders", NOT_ANSWERED)
        if len({*answered}) < len(answered):
            raise FieldError("responseHeaders", ANSWERED_TWICE)
        return self


EXTERNAL_AUTH_RULES: list[JsonValue] = [
    {
        "rule": "!has(self.backendTls) || self.backendProtocol == 'HTTPS'",
        "message": NEEDS_TLS,
        "fieldPath": ".backendTls",
    },
    {
        "rule": (
            "!has(self.requestHeaders) || "
            f"!self.requestHeaders.exists(h, h.lowerAscii() in {list(_NOT_TOLD)})"
        ),
        "message": NOT_TOLD,
        "fieldPath": ".requestHeaders",
    },
    {
        "rule": f"!self.responseHeaders.exists(h, h.lowerAscii() in {list(_NOT_ANSWERED)})",
        "message": NOT_ANSWERED,
        "fieldPath": ".responseHeaders",
    },
    {
        "rule": (
            "self.responseHeaders.all(h, self.responseHeaders.exists_one(i, "
            "i.lowerAscii() == h.lowerAscii()))"
        ),
        "message": ANSWERED_TWICE,
        "fieldPath": ".responseHeaders",
    },
]

EXTERNAL_AUTH_OF_MAPPINGS = (
    {"rule": "!has(self.externalAuth) || self.backends.size() > 0", "message": NEEDS_BACKENDS},
    {
        "rule": (
            "!has(self.externalAuth) || !has(self.externalAuth.signInUrl) || !has(self.basicAuth)"
        ),
        "message": NOBODY_SIGNS_IN,
    },
    {
        "rule": (
            "!has(self.externalAuth) || !self.externalAuth.responseHeaders.exists(h, "
            "self.requestHeaders.set.exists(s, s.name.lowerAscii() == h.lowerAscii()) || "
            "self.requestHeaders.remove.exists(r, r.lowerAscii() == h.lowerAscii()))"
        ),
        "message": SET_BY_BOTH,
    },
)


def objection(
    spec: ExternalAuth,
    *,
    has_backends: bool,
    asks_for_password: bool,
    changed_headers: frozenset[str],
) -> str | None:
    """What speaks against it in a mapping that is so; ``changed_headers`` in lower case."""
    if not has_backends:
        return NEEDS_BACKENDS
    if asks_for_password and spec.sign_in_url is not None:
        return NOBODY_SIGNS_IN
    answered = {name.lower() for name in spec.response_headers}
    return SET_BY_BOTH if answered & changed_headers else None


def external_auth(spec: ExternalAuth | None, *, namespace: str) -> model.ExternalAuth | None:
    """The same for decisions; ``namespace`` is the mapping's."""
    if spec is None:
        return None
    told = spec.request_headers
    return model.ExternalAuth(
        group=group_of(
            spec.backends,
            protocol=model.BackendProtocol(spec.backend_protocol),
            tls=backend_tls(spec.backend_tls, namespace=namespace),
        ),
        path=spec.path,
        request_headers=None if told is None else tuple(sorted(told)),
        response_headers=tuple(sorted(spec.response_headers)),
        timeout=seconds(spec.timeout),
        sign_in=spec.sign_in_url or "",
    )
