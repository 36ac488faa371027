"""ServiceMapping: requests for host names and a path go to a Consul service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from consul_nginx.model import kubernetes as model
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.names import MAX_SERVICE_NAME, SERVICE_NAME
from consul_nginx.resources.base import Invalid, SpecModel, parse_meta, problems_of
from consul_nginx.resources.texts import DnsLabel

Hostname = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
        max_length=253,
    ),
]
PathPrefix = Annotated[
    str, StringConstraints(pattern=r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?$", max_length=512)
]
ConsulService = Annotated[str, StringConstraints(pattern=SERVICE_NAME, max_length=MAX_SERVICE_NAME)]
ConsulTag = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/=+-]*$", max_length=128)
]
ConsulDatacenter = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_-]+$", min_length=1, max_length=64)
]


class LoadBalancerRef(SpecModel):
    """Names the LoadBalancer that this mapping belongs to."""

    name: Annotated[DnsLabel, Field(description="Name of a LoadBalancer.")]
    namespace: Annotated[
        DnsLabel | None,
        Field(
            description=(
                "Its namespace, by default the mapping's own; a LoadBalancer says in "
                "allowedNamespaces whom it takes mappings from."
            )
        ),
    ] = None


class Path(SpecModel):
    """Which request paths are meant."""

    type: Annotated[
        Literal["Prefix"],
        Field(
            description="Prefix: whole path segments, /shop takes /shop and /shop/x, not /shopping."
        ),
    ] = "Prefix"
    value: Annotated[PathPrefix, Field(description="Path that requests begin with.")] = "/"


class Backend(SpecModel):
    """Instances that requests go to."""

    service: Annotated[ConsulService, Field(description="Name of a service in Consul.")]
    tags: Annotated[
        tuple[ConsulTag, ...],
        Field(max_length=16, description="Tags that an instance must have, all of them."),
    ] = ()
    datacenter: Annotated[
        ConsulDatacenter | None,
        Field(description="Consul datacenter; by default that of the Consul agent in use."),
    ] = None


class ServiceMappingSpec(SpecModel):
    """Which requests go to which Consul service."""

    load_balancer_ref: Annotated[
        LoadBalancerRef, Field(description="LoadBalancer that serves the requests.")
    ]
    listener: Annotated[DnsLabel, Field(description="Name of one of its listeners.")]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Field(
            max_length=64,
            description=(
                "Host names, in lower case, that requests ask for; empty takes the requests "
                "that no other mapping of the listener names."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    path: Annotated[Path, Field(description="Which request paths are meant.")] = Path()
    backends: Annotated[
        tuple[Backend, ...],
        Field(min_length=1, max_length=1, description="Consul service that requests go to."),
    ]


def parse_service_mapping(raw: Mapping[str, Any]) -> model.ServiceMapping | Invalid:
    """Validate an object of the API; everything that is wrong with it comes back at once."""
    meta = parse_meta(raw)
    try:
        spec = ServiceMappingSpec.model_validate(raw.get("spec", {}))
    except ValidationError as error:
        return Invalid(meta=meta, problems=problems_of(error))
    backend = spec.backends[0]
    return model.ServiceMapping(
        meta=meta,
        load_balancer=model.ObjectRef(
            namespace=spec.load_balancer_ref.namespace or meta.ref.namespace,
            name=spec.load_balancer_ref.name,
        ),
        listener=spec.listener,
        hostnames=tuple(sorted(set(spec.hostnames))),
        path_prefix=spec.path.value.rstrip("/") or "/",
        backend=ServiceQuery(
            service=backend.service,
            tags=tuple(sorted(set(backend.tags))),
            datacenter=backend.datacenter or "",
        ),
    )
