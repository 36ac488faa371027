"""LoadBalancer: an nginx deployment and the listeners it offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from consul_nginx.model import kubernetes as model
from consul_nginx.model.layout import AGENT_PORT
from consul_nginx.model.listener import Protocol
from consul_nginx.resources.base import FieldError, Invalid, SpecModel, parse_meta
from consul_nginx.resources.consul import ADDRESS_MISSING, Consul, consul_source
from consul_nginx.resources.deployment import Deployment, Service, pod_settings
from consul_nginx.resources.listener import Listener, listener
from consul_nginx.resources.namespaces import AllowedNamespaces, allowed_namespaces
from consul_nginx.resources.problems import problems_of
from consul_nginx.resources.reload import GRACE_BELOW_SHUTDOWN, Reload, reload_settings
from consul_nginx.resources.template import Template, config_map_key

PORT_TAKEN = "each port can be used by one listener only, or by one of UDP and one of the others"


class LoadBalancerSpec(SpecModel):
    """What an nginx deployment is to be."""

    paused: Annotated[
        bool,
        Field(
            description=(
                "While true, the operator writes nothing of this LoadBalancer: nginx keeps what it "
                "has, and what you change by hand stays."
            )
        ),
    ] = False
    consul: Annotated[
        Consul,
        Field(
            description="The Consul that is asked; by default the operator's.",
            json_schema_extra={
                "x-kubernetes-validations": [
                    {
                        "rule": "!has(self.tokenSecretRef) || self.address != ''",
                        "message": ADDRESS_MISSING,
                    }
                ]
            },
        ),
    ] = Consul()
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
    template: Annotated[
        Template | None,
        Field(
            description=(
                "Your own template for all that is in nginx's http block: upstreams, servers, "
                "maps. It takes the place of mappings on listeners that speak HTTP. Whoever runs "
                "the operator has to allow it (chart: policy.templates)."
            )
        ),
    ] = None
    stream_template: Annotated[
        Template | None,
        Field(description="The same for nginx's stream block, and all other listeners."),
    ] = None
    ip_families: Annotated[
        tuple[Literal["IPv4", "IPv6"], ...],
        Field(
            min_length=1,
            max_length=2,
            description="Kinds of addresses that nginx listens on, and that its Service has.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ("IPv4",)
    allowed_namespaces: Annotated[
        AllowedNamespaces,
        Field(
            description=(
                "Whose ServiceMappings are taken, where a listener's own allowedNamespaces does "
                "not say otherwise."
            )
        ),
    ] = AllowedNamespaces()
    access: Annotated[
        Literal["Service", "HostPort", "HostNetwork"],
        Field(
            description=(
                "How traffic gets to nginx. Service: by a Kubernetes Service. HostPort: by the "
                "listeners' ports of each node with an nginx pod; changing listeners replaces the "
                "pods. HostNetwork: nginx is in the node's network, where ports below 1024 need "
                "the node's net.ipv4.ip_unprivileged_port_start. The latter two need a namespace "
                "whose Pod Security level is privileged."
            )
        ),
    ] = "Service"
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
                        "rule": ("duration(self.keepaliveGrace) < duration(self.shutdownTimeout)"),
                        "message": GRACE_BELOW_SHUTDOWN,
                    }
                ]
            },
        ),
    ] = Reload()

    @model_validator(mode="after")
    def _ports_are_free(self) -> LoadBalancerSpec:
        ports = [(item.port, Protocol(item.protocol).transport) for item in self.listeners]
        names = [listener.name for listener in self.listeners]
        if len(set(names)) < len(names):
            raise FieldError("listeners", "each listener needs a name of its own")
        if len(set(ports)) < len(ports):
            raise FieldError("listeners", PORT_TAKEN)
        if (AGENT_PORT, "TCP") in ports:
            raise FieldError(
                "listeners", f"port {AGENT_PORT} is taken by the agent in the nginx pod"
            )
        return self


def parse_load_balancer(raw: Mapping[str, Any]) -> model.LoadBalancer | Invalid:
    """Validate an object of the API; everything that is wrong with it comes back at once."""
    meta = parse_meta(raw)
    try:
        spec = LoadBalancerSpec.model_validate(raw.get("spec", {}))
    except ValidationError as error:
        return Invalid(meta=meta, problems=problems_of(error, model=LoadBalancerSpec))
    return model.LoadBalancer(
        meta=meta,
        paused=spec.paused,
        consul=consul_source(spec=spec.consul, namespace=meta.ref.namespace),
        datacenter=spec.consul.datacenter,
        listeners=tuple(listener(item, namespace=meta.ref.namespace) for item in spec.listeners),
        template=config_map_key(spec.template),
        stream_template=config_map_key(spec.stream_template),
        ip_families=tuple(sorted(map(model.IpFamily, set(spec.ip_families)))),
        allowed_namespaces=allowed_namespaces(spec.allowed_namespaces),
        access=model.Access(spec.access),
        pods=pod_settings(spec.deployment),
        service=model.ServiceSettings(type=spec.service.type, annotations=spec.service.annotations),
        reload=reload_settings(spec.reload),
    )
