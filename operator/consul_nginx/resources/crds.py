"""The CustomResourceDefinitions, made from the models; ``make generate`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from consul_nginx.model.kubernetes import GROUP, VERSION
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.load_balancer import LoadBalancerSpec
from consul_nginx.resources.schema import structural_schema
from consul_nginx.resources.service_mapping import RULES as MAPPING_RULES
from consul_nginx.resources.service_mapping import ServiceMappingSpec

CATEGORY = "consul-nginx"

# A Service's name has at most 63 characters; our longest suffix is "-config".
MAX_NAME_LENGTH = 52

_CONDITIONS = {
    "type": "array",
    "description": "Answers to: is it in use, does Consul know it, does nginx run it?",
    "maxItems": 16,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "description": "Name of the condition.", "maxLength": 316},
            "status": {
                "type": "string",
                "description": "True, False or Unknown.",
                "enum": ["True", "False", "Unknown"],
            },
            "reason": {
                "type": "string",
                "description": "Why, in one word for scripts.",
                "maxLength": 1024,
            },
            "message": {
                "type": "string",
                "description": "Why, in words for people.",
                "maxLength": 32768,
            },
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "minimum": 0,
                "description": "Generation of the object that this was said of.",
            },
            "lastTransitionTime": {
                "type": "string",
                "format": "date-time",
                "description": "When the status last changed.",
            },
        },
    },
}


def _count(description: str) -> dict[str, Any]:
    return {"type": "integer", "format": "int32", "minimum": 0, "description": description}


_LOAD_BALANCER_STATUS = {
    "conditions": _CONDITIONS,
    "addresses": {
        "type": "array",
        "maxItems": 16,
        "description": "Addresses at which the Service is reached.",
        "items": {"type": "string", "maxLength": 253},
    },
    "mappings": _count("Number of accepted ServiceMappings."),
    "selector": {
        "type": "string",
        "maxLength": 1024,
        "description": "Selects the nginx pods, for kubectl scale and autoscalers.",
    },
    "dataPlane": {
        "type": "object",
        "description": "What the nginx pods really run.",
        "properties": {
            "desired": _count("Pods that are asked for."),
            "ready": _count("Pods that are ready."),
            "updated": _count("Ready pods that serve the newest revision."),
            "summary": {
                "type": "string",
                "maxLength": 64,
                "description": "updated/desired, for people.",
            },
            "stale": {
                "type": "array",
                "maxItems": 20,
                "description": "Pods that don't serve the newest revision, and why.",
                "items": {
                    "type": "object",
                    "required": ["pod", "message"],
                    "properties": {
                        "pod": {
                            "type": "string",
                            "maxLength": 253,
                            "description": "Name of the pod.",
                        },
                        "message": {
                            "type": "string",
                            "maxLength": 4096,
                            "description": "Why it does not serve the newest revision.",
                        },
                    },
                },
            },
        },
    },
}

_SERVICE_MAPPING_STATUS = {
    "conditions": _CONDITIONS,
    "endpoints": {
        "type": "object",
        "description": "Instances that Consul knows of the backend.",
        "properties": {
            "healthy": _count("Instances that are healthy and usable."),
            "total": _count("Instances in Consul."),
            "kept": _count("Instances that are served although they are not healthy."),
            "summary": {
                "type": "string",
                "maxLength": 64,
                "description": "healthy/total, for people.",
            },
        },
    },
}


def _condition_column(name: str) -> dict[str, Any]:
    path = f".status.conditions[?(@.type=='{name}')].status"
    return {"name": name, "type": "string", "jsonPath": path}


_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


@dataclass(frozen=True, kw_only=True)
class ResourceKind:
    """One of our kinds, as the API server is to know it."""

    kind: str
    short_name: str
    description: str
    spec: type[SpecModel]
    status: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...]
    spec_rules: tuple[Mapping[str, Any], ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()
    subresources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plural(self) -> str:
        """Name in URLs."""
        return f"{self.kind.lower()}s"


KINDS = (
    ResourceKind(
        kind="LoadBalancer",
        short_name="nlb",
        description="An nginx deployment and the listeners it offers.",
        spec=LoadBalancerSpec,
        status=_LOAD_BALANCER_STATUS,
        columns=(
            _condition_column("Ready"),
            {"name": "Pods", "type": "string", "jsonPath": ".status.dataPlane.summary"},
            {"name": "Mappings", "type": "integer", "jsonPath": ".status.mappings"},
            {"name": "Address", "type": "string", "jsonPath": ".status.addresses[0]"},
            _AGE,
        ),
        subresources={
            "scale": {
                "specReplicasPath": ".spec.deployment.replicas",
                "statusReplicasPath": ".status.dataPlane.ready",
                "labelSelectorPath": ".status.selector",
            }
        },
        rules=(
            {
                "rule": (
                    f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && "
                    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
                ),
                "message": (
                    f"metadata.name becomes the name of a Service: at most {MAX_NAME_LENGTH} lower "
                    "case letters, digits and '-', the first one a letter"
                ),
            },
        ),
    ),
    ResourceKind(
        kind="ServiceMapping",
        short_name="smap",
        description="Requests for host names and a path go to a Consul service.",
        spec=ServiceMappingSpec,
        status=_SERVICE_MAPPING_STATUS,
        columns=(
            {
                "name": "LoadBalancer",
                "type": "string",
                "jsonPath": ".spec.loadBalancerRef.name",
            },
            {"name": "Hosts", "type": "string", "jsonPath": ".spec.hostnames"},
            {"name": "Path", "type": "string", "jsonPath": ".spec.path.value"},
            {"name": "Service", "type": "string", "jsonPath": ".spec.backends[0].service"},
            {"name": "Healthy", "type": "string", "jsonPath": ".status.endpoints.summary"},
            _condition_column("Accepted"),
            _condition_column("Programmed"),
            _AGE,
        ),
        spec_rules=MAPPING_RULES,
    ),
)


def manifests() -> dict[str, str]:
    """CRD manifests as YAML, by file name."""
    return {
        f"{GROUP}_{kind.plural}.yaml": _HEADER + yaml.safe_dump(_definition(kind), sort_keys=False)
        for kind in KINDS
    }


_HEADER = "# Generated from operator/consul_nginx/resources by `make generate`; do not edit.\n"


def _definition(kind: ResourceKind) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, **kind.subresources},
                    "additionalPrinterColumns": [dict(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def object_schema(kind: ResourceKind) -> dict[str, Any]:
    """Structural schema of a whole object."""
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        **_validations(kind.rules),
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {
                **structural_schema(kind.spec),
                **_validations(kind.spec_rules),
            },
            "status": {
                "type": "object",
                "description": "What the operator found and did.",
                "properties": dict(kind.status),
            },
        },
    }


def _validations(rules: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {"x-kubernetes-validations": [dict(rule) for rule in rules]} if rules else {}
