"""Where requests go: Consul services, or an answer of nginx's own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.model.addresses import is_routable
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.filter_grammar import FilterError, parse
from consul_nginx.model.names import MAX_SERVICE_NAME, SERVICE_NAME
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.matching import PATH_CHARACTERS

NO_SHARE = "at least one backend needs a weight above 0"

ConsulService = Annotated[str, StringConstraints(pattern=SERVICE_NAME, max_length=MAX_SERVICE_NAME)]
ConsulTag = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/=+-]*$", max_length=128)
]
ConsulName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_-]+$", min_length=1, max_length=64)
]


def _readable(text: str) -> str:
    """What Consul could not read is refused here, where the last good form is served on."""
    try:
        parse(text, compare=lambda _: bool)
    except FilterError as error:
        raise ValueError(f"is no expression of Consul's filter language: {error}") from error
    return text


ConsulFilter = Annotated[
    str, StringConstraints(pattern=r"^[ -~]+$", max_length=512), AfterValidator(_readable)
]
NOT_AN_ADDRESS = "must be an IPv4 or IPv6 address"
NOT_ROUTABLE = "must be an address that other hosts can have, not loopback or link-local"


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(NOT_AN_ADDRESS) from error
    if not is_routable(address):
        raise ValueError(NOT_ROUTABLE)
    return str(address)


IPAddress = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F.:]{2,39}$", max_length=39),
    AfterValidator(_usable),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "isIP(self)", "message": NOT_AN_ADDRESS},
                {
                    "rule": "!isIP(self) || ip(self).isGlobalUnicast()",
                    "message": NOT_ROUTABLE,
                },
            ]
        }
    ),
]


ConsulNode = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=253)
]


class Near(SpecModel):
    """Instances that are near a node, by the round-trip times that Consul estimates."""

    node: Annotated[
        ConsulNode,
        Field(
            description=(
                "Name of a node in Consul, of the backend's datacenter, such as that of nginx. "
                "_agent and _ip are none: the agent that is asked is not where nginx runs."
            )
        ),
    ]
    instances: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description=(
                "How many of the healthy instances get the backend's requests: the nearest ones. "
                "When one of them fails, the next moves up."
            ),
        ),
    ]


class Backend(SpecModel):
    """Instances that requests go to."""

    service: Annotated[ConsulService, Field(description="Name of a service in Consul.")]
    tags: Annotated[
        tuple[ConsulTag, ...],
        Field(max_length=16, description="Tags that an instance must have, all of them."),
    ] = ()
    datacenter: Annotated[
        ConsulName | None,
        Field(description="Consul datacenter; by default that of the Consul agent in use."),
    ] = None
    filter: Annotated[
        ConsulFilter | None,
        Field(
            description=(
                "Expression that instances must fulfil, in Consul's filter language, such as "
                'Service.Meta.version == "2".'
            )
        ),
    ] = None
    near: Annotated[
        Near | None,
        Field(
            description=(
                "The nearest instances only; by default all. Those on nodes without coordinates, "
                "as the synthetic ones that Pods are registered on, are the farthest."
            )
        ),
    ] = None
    namespace: Annotated[
        ConsulName | None,
        Field(description="Namespace of Consul Enterprise; by default the token's."),
    ] = None
    partition: Annotated[
        ConsulName | None,
        Field(description="Admin partition of Consul Enterprise; by default the agent's."),
    ] = None
    weight: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description=(
                "Share of the requests, in proportion to the other backends'; 0: none. A backend "
                "without an instance leaves its share to the others."
            ),
        ),
    ] = 1


class FallbackEndpoint(SpecModel):
    """A server that does not come from Consul."""

    address: Annotated[IPAddress, Field(description="IPv4 or IPv6 address.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Port.")]
    weight: Annotated[int, Field(ge=1, le=1000, description="Share among the fallbacks.")] = 1


class Redirect(SpecModel):
    """Sends clients elsewhere; what is left out stays as they asked for it."""

    status_code: Annotated[
        Literal[301, 302, 303, 307, 308],
        Field(description="301 and 308 are for ever, 307 and 308 keep the method."),
    ] = 302
    scheme: Annotated[
        Literal["http", "https"] | None, Field(description="Scheme of the new address.")
    ] = None
    hostname: Annotated[
        Annotated[
            str,
            StringConstraints(
                pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
                max_length=253,
            ),
        ]
        | None,
        Field(description="Host of the new address."),
    ] = None
    port: Annotated[
        int | None,
        Field(ge=1, le=65535, description="Port of the new address; by default the scheme's."),
    ] = None
    path: Annotated[
        Annotated[str, StringConstraints(pattern=rf"^/[/{PATH_CHARACTERS}]*$", max_length=512)]
        | None,
        Field(
            description="Path of the new address, in place of the one that was asked for and its "
            "query."
        ),
    ] = None


USE_REDIRECT = "what sends clients elsewhere is a redirect, not a fixedResponse"
# nginx takes the body of these for the Location.
_REDIRECTS = (301, 302, 303, 307, 308)


class FixedResponse(SpecModel):
    """An answer that nginx gives itself."""

    status_code: Annotated[int, Field(ge=200, le=599, description="HTTP status.")] = 200
    content_type: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-z]+/[a-z0-9.+-]+(; charset=[A-Za-z0-9-]+)?$", max_length=96
        ),
        Field(description="Content-Type of the body."),
    ] = "text/plain"
    body: Annotated[
        str,
        StringConstraints(pattern=r"^[\t\n -~]*$", max_length=900),
        Field(description="Body, in ASCII; a page in HTML can use character references."),
    ] = ""

    @model_validator(mode="after")
    def _is_no_redirect(self) -> FixedResponse:
        if self.status_code in _REDIRECTS:
            raise FieldError("statusCode", USE_REDIRECT)
        return self


FIXED_RESPONSE_RULES = [
    {
        "rule": f"!(self.statusCode in {list(_REDIRECTS)})",
        "message": USE_REDIRECT,
        "fieldPath": ".statusCode",
    }
]


def backend(spec: Backend) -> model.Backend:
    """The same for decisions."""
    return model.Backend(
        query=ServiceQuery(
            service=spec.service,
            tags=tuple(sorted(set(spec.tags))),
            datacenter=spec.datacenter or "",
            filter=spec.filter or "",
            namespace=spec.namespace or "",
            partition=spec.partition or "",
            near=spec.near.node if spec.near is not None else "",
        ),
        weight=spec.weight,
        nearest=spec.near.instances if spec.near is not None else 0,
    )


def group_of(
    backends: Iterable[Backend], *, protocol: model.BackendProtocol, tls: model.BackendTls | None
) -> model.BackendGroup:
    """Backends beside a mapping's own: all is as it is by default."""
    return model.BackendGroup(
        backends=tuple(sorted(map(backend, backends))), protocol=protocol, tls=tls
    )


def answer(
    *, redirect: Redirect | None, fixed_response: FixedResponse | None
) -> model.Answer | None:
    """What nginx is to answer itself; None when there are backends."""
    if redirect is not None:
        return model.Redirect(
            status=redirect.status_code,
            scheme=redirect.scheme or "",
            hostname=redirect.hostname or "",
            port=redirect.port or 0,
            path=redirect.path or "",
        )
    if fixed_response is not None:
        return model.FixedResponse(
            status=fixed_response.status_code,
            content_type=fixed_response.content_type,
            body=fixed_response.body,
        )
    return None
