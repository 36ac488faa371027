"""How the nginx pods and the Service in front of them are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consul_nginx.model import kubernetes as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import LabelValue, Quantity


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


def pod_settings(spec: Deployment) -> model.PodSettings:
    """How the pods are to be run."""
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
