"""LoadBalancer: an nginx deployment and the listeners it offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from consul_nginx.model import kubernetes as model
from consul_nginx.model.layout import AGENT_PORT
from consul_nginx.resources.base import Invalid, SpecModel, parse_meta, problems_of

GRACE_BELOW_SHUTDOWN = (
    "keepaliveGrace must be less than shutdownTimeout, which ends the workers that grant it"
)
PORT_TAKEN = "each port can be used by one listener only, or by one of TCP or HTTP and one of UDP"

# As in Kubernetes' own CRDs: 500m, 128Mi, 2.
QUANTITY = (
    r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
    r"([KMGTPE]i|[numkMGTPE]|[eE][+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+))?$"
)
Quantity = Annotated[
    Annotated[str, StringConstraints(pattern=QUANTITY, max_length=32)] | int,
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY}),
]
DnsLabel = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)
]


class Listener(SpecModel):
    """A port that nginx listens on."""

    name: Annotated[
        DnsLabel, Field(description="Name by which ServiceMappings choose this listener.")
    ]
    protocol: Annotated[
        Literal["HTTP", "TCP", "UDP"],
        Field(
            description=(
                "What is spoken on the port. HTTP chooses a mapping by host name and path; all of "
                "a TCP or UDP port goes to one mapping, and it is open only while there is one."
            )
        ),
    ] = "HTTP"
    port: Annotated[
        int, Field(ge=1, le=65535, description="Port of the nginx pods and of their Service.")
    ]


class Resources(SpecModel):
    """Resource requests and limits."""

    requests: Annotated[
        dict[str, Quantity],
        Field(max_length=16, description="What the scheduler sets aside: cpu, memory."),
    ] = Field(default_factory=dict)
    limits: Annotated[
        dict[str, Quantity],
        Field(max_length=16, description="What the container can use at most: cpu, memory."),
    ] = Field(default_factory=dict)


class Deployment(SpecModel):
    """How the nginx pods are run."""

    replicas: Annotated[int, Field(ge=0, le=100, description="Number of nginx pods.")] = 2
    resources: Annotated[
        Resources,
        Field(description="Resource requests and limits of the nginx container, as in a Pod."),
    ] = Resources()


class Service(SpecModel):
    """The Kubernetes Service in front of the nginx pods."""

    type: Annotated[
        Literal["ClusterIP", "NodePort", "LoadBalancer"],
        Field(description="Type of the Service."),
    ] = "ClusterIP"
    annotations: Annotated[
        dict[str, str],
        Field(max_length=64, description="Annotations of the Service, for cloud load balancers."),
    ] = Field(default_factory=dict)


class Reload(SpecModel):
    """What happens to connections when the configuration changes."""

    keepalive_grace: Annotated[
        int,
        Field(
            ge=0,
            le=60,
            description=(
                "Seconds that an old nginx worker still answers on idle keep-alive connections "
                "after a reload (nginx: keepalive_min_timeout). With 0, clients see errors at "
                "reloads; for this long, an idle connection can still reach a removed instance."
            ),
        ),
    ] = 2
    shutdown_timeout: Annotated[
        int,
        Field(
            ge=1,
            le=3600,
            description=(
                "Seconds that open requests may go on after a reload or at the end of a pod "
                "(nginx: worker_shutdown_timeout); TCP sessions that last longer are cut off then. "
                "Changing it replaces the nginx pods."
            ),
        ),
    ] = 30

    @model_validator(mode="after")
    def _grace_fits(self) -> Reload:
        if self.keepalive_grace >= self.shutdown_timeout:
            raise ValueError(GRACE_BELOW_SHUTDOWN)
        return self


class LoadBalancerSpec(SpecModel):
    """What an nginx deployment is to be."""

    listeners: Annotated[
        tuple[Listener, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Ports that nginx listens on.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-validations": [
                    {
                        "rule": (
                            "self.all(a, self.exists_one(b, b.port == a.port && "
                            "(b.protocol == 'UDP') == (a.protocol == 'UDP')))"
                        ),
                        "message": PORT_TAKEN,
                    },
                    {
                        "rule": f"self.all(l, l.port != {AGENT_PORT} || l.protocol == 'UDP')",
                        "message": f"port {AGENT_PORT} is taken by the agent in the nginx pod",
                    },
                ],
            },
        ),
    ]
    deployment: Annotated[Deployment, Field(description="How the nginx pods are run.")] = (
        Deployment()
    )
    service: Annotated[
        Service, Field(description="The Kubernetes Service in front of the nginx pods.")
    ] = Service()
    reload: Annotated[
        Reload,
        Field(
            description="What happens to connections when the configuration changes.",
            json_schema_extra={
                "x-kubernetes-validations": [
                    {
                        "rule": "self.keepaliveGrace < self.shutdownTimeout",
                        "message": GRACE_BELOW_SHUTDOWN,
                    }
                ]
            },
        ),
    ] = Reload()

    @model_validator(mode="after")
    def _ports_are_free(self) -> LoadBalancerSpec:
        ports = [(item.port, model.Protocol(item.protocol).transport) for item in self.listeners]
        names = [listener.name for listener in self.listeners]
        if len(set(names)) < len(names):
            raise ValueError("each listener needs a name of its own")
        if len(set(ports)) < len(ports):
            raise ValueError(PORT_TAKEN)
        if (AGENT_PORT, "TCP") in ports:
            raise ValueError(f"port {AGENT_PORT} is taken by the agent in the nginx pod")
        return self


def parse_load_balancer(raw: Mapping[str, Any]) -> model.LoadBalancer | Invalid:
    """Validate an object of the API; everything that is wrong with it comes back at once."""
    meta = parse_meta(raw)
    try:
        spec = LoadBalancerSpec.model_validate(raw.get("spec", {}))
    except ValidationError as error:
        return Invalid(meta=meta, problems=problems_of(error))
    return model.LoadBalancer(
        meta=meta,
        listeners=tuple(
            model.Listener(name=item.name, port=item.port, protocol=model.Protocol(item.protocol))
            for item in spec.listeners
        ),
        pods=model.PodSettings(
            replicas=spec.deployment.replicas,
            resources=spec.deployment.resources.model_dump(exclude_defaults=True),
        ),
        service=model.ServiceSettings(type=spec.service.type, annotations=spec.service.annotations),
        reload=model.ReloadSettings(
            keepalive_grace=spec.reload.keepalive_grace,
            shutdown_timeout=spec.reload.shutdown_timeout,
        ),
    )
