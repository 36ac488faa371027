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
from consul_nginx.model.consul import ConsulSource
from consul_nginx.model.layout import AGENT_PORT
from consul_nginx.resources.base import Invalid, SpecModel, parse_meta, problems_of
from consul_nginx.resources.durations import Between, seconds

GRACE_BELOW_SHUTDOWN = (
    "keepaliveGrace must be less than shutdownTimeout, which ends the workers that grant it"
)
ADDRESS_MISSING = "tokenSecretRef is for an address of your own: name that too"
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
DnsName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)
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


class Toleration(SpecModel):
    """A taint of nodes that the pods may run in spite of, as in a Pod."""

    key: Annotated[str, Field(max_length=316, description="Key of the taint; empty: any.")] = ""
    operator: Annotated[
        Literal["Exists", "Equal"], Field(description="Equal compares the value.")
    ] = "Equal"
    value: Annotated[str, Field(max_length=63, description="Value of the taint.")] = ""
    effect: Annotated[
        Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"],
        Field(description="Effect of the taint; empty: any."),
    ] = ""
    toleration_seconds: Annotated[
        int | None,
        Field(ge=0, description="Seconds that a pod stays on a node with a NoExecute taint."),
    ] = None


class PodTemplate(SpecModel):
    """What the nginx pods carry and where they run; nothing in it grants rights."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(max_length=32, description="Labels; those that the operator sets stay."),
    ] = Field(default_factory=dict)
    annotations: Annotated[
        dict[str, str], Field(max_length=32, description="Annotations of the pods.")
    ] = Field(default_factory=dict)
    node_selector: Annotated[
        dict[str, LabelValue], Field(max_length=32, description="Labels that a node must have.")
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(max_length=32, description="Taints of nodes that the pods tolerate."),
    ] = ()
    priority_class_name: Annotated[
        str, Field(max_length=253, description="PriorityClass of the pods.")
    ] = ""


class Deployment(SpecModel):
    """How the nginx pods are run."""

    kind: Annotated[
        Literal["Deployment", "DaemonSet"],
        Field(
            description=(
                "Deployment: replicas many pods. DaemonSet: one on each node that nodeSelector "
                "and tolerations allow. The pods of one go when those of the other are ready, or "
                "earlier where they hold the node's ports that those need."
            )
        ),
    ] = "Deployment"
    replicas: Annotated[
        int, Field(ge=0, le=100, description="Number of nginx pods of a Deployment.")
    ] = 2
    resources: Annotated[
        Resources,
        Field(description="Resource requests and limits of the nginx container, as in a Pod."),
    ] = Resources()
    pod_template: Annotated[
        PodTemplate, Field(description="What the nginx pods carry and where they run.")
    ] = PodTemplate()


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
    """What happens to connections when the configuration changes, and how often it does."""

    keepalive_grace: Annotated[
        str,
        Between(low="0s", high="60s"),
        Field(
            description=(
                "For how long an old nginx worker still answers on idle keep-alive connections "
                "after a reload (nginx: keepalive_min_timeout). With 0s, clients see errors at "
                "reloads; for this long, an idle connection can still reach a removed instance."
            ),
        ),
    ] = "2s"
    shutdown_timeout: Annotated[
        str,
        Between(low="1s", high="1h"),
        Field(
            description=(
                "For how long open requests may go on after a reload or at the end of a pod "
                "(nginx: worker_shutdown_timeout); TCP sessions that last longer are cut off then. "
                "Changing it replaces the nginx pods."
            ),
        ),
    ] = "30s"
    quiet_period: Annotated[
        str,
        Between(low="0s", high="1m"),
        Field(
            description=(
                "A change goes out at once when none did within this time. Those that follow "
                "closer are gathered until none came for this long."
            )
        ),
    ] = "100ms"
    max_delay: Annotated[
        str,
        Between(low="0s", high="5m"),
        Field(description="The longest that a change waits for others."),
    ] = "1s"
    min_interval: Annotated[
        str, Between(low="0s", high="1h"), Field(description="Least time between two reloads.")
    ] = "0s"

    @model_validator(mode="after")
    def _grace_fits(self) -> Reload:
        if seconds(self.keepalive_grace) >= seconds(self.shutdown_timeout):
            raise ValueError(GRACE_BELOW_SHUTDOWN)
        return self


class SecretKeyRef(SpecModel):
    """A key of a Secret in the LoadBalancer's namespace."""

    name: Annotated[DnsName, Field(description="Name of the Secret.")]
    key: Annotated[SecretKey, Field(description="Key whose value is meant.")] = "token"


class Consul(SpecModel):
    """The Consul that is asked."""

    address: Annotated[
        str,
        StringConstraints(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$", max_length=253),
        Field(
            description=(
                "Base URL of another Consul than the operator's; whoever runs the operator has to "
                "allow it (chart: policy.consulAddresses). It never gets the operator's token."
            )
        ),
    ] = ""
    datacenter: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9_-]*$", max_length=64),
        Field(description="Datacenter of backends that name none; empty: the Consul agent's own."),
    ] = ""
    token_secret_ref: Annotated[
        SecretKeyRef | None,
        Field(description="ACL token for that address; none by default."),
    ] = None

    @model_validator(mode="after")
    def _token_has_an_address(self) -> Consul:
        if self.token_secret_ref is not None and not self.address:
            raise ValueError(ADDRESS_MISSING)
        return self


class NamespaceSelector(SpecModel):
    """Chooses namespaces by their labels."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Field(max_length=16, description="Labels that a namespace must have, all of them."),
    ] = Field(default_factory=dict)


class AllowedNamespaces(SpecModel):
    """Whose ServiceMappings are taken."""

    come_from: Annotated[
        Literal["Same", "All", "Selector"],
        Field(
            alias="from",
            description=(
                "Same: the LoadBalancer's own namespace. All: every one. Selector: those with "
                "the labels of selector."
            ),
        ),
    ] = "Same"
    selector: Annotated[
        NamespaceSelector, Field(description="Which namespaces, with from: Selector.")
    ] = NamespaceSelector()


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
    allowed_namespaces: Annotated[
        AllowedNamespaces, Field(description="Whose ServiceMappings are taken.")
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
        paused=spec.paused,
        consul=_source(spec=spec.consul, namespace=meta.ref.namespace),
        datacenter=spec.consul.datacenter,
        listeners=tuple(
            model.Listener(name=item.name, port=item.port, protocol=model.Protocol(item.protocol))
            for item in spec.listeners
        ),
        allowed_namespaces=model.AllowedNamespaces(
            come_from=model.NamespacesFrom(spec.allowed_namespaces.come_from),
            match_labels=spec.allowed_namespaces.selector.match_labels,
        ),
        access=model.Access(spec.access),
        pods=_pods(spec.deployment),
        service=model.ServiceSettings(type=spec.service.type, annotations=spec.service.annotations),
        reload=model.ReloadSettings(
            keepalive_grace=seconds(spec.reload.keepalive_grace),
            shutdown_timeout=seconds(spec.reload.shutdown_timeout),
            batching=model.Batching(
                quiet_period=seconds(spec.reload.quiet_period),
                max_delay=seconds(spec.reload.max_delay),
                min_interval=seconds(spec.reload.min_interval),
            ),
        ),
    )


def _source(*, spec: Consul, namespace: str) -> ConsulSource:
    secret = spec.token_secret_ref
    return ConsulSource(
        address=spec.address.rstrip("/"),
        token_secret=(namespace, secret.name, secret.key) if secret is not None else (),
    )


def _pods(spec: Deployment) -> model.PodSettings:
    template = spec.pod_template
    return model.PodSettings(
        workload=model.Workload(spec.kind),
        replicas=spec.replicas,
        resources=spec.resources.model_dump(exclude_defaults=True),
        labels=template.labels,
        annotations=template.annotations,
        node_selector=template.node_selector,
        tolerations=tuple(
            item.model_dump(by_alias=True, exclude_defaults=True) for item in template.tolerations
        ),
        priority_class=template.priority_class_name,
    )
