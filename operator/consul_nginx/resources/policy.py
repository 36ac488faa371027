"""The operator's policy file: which namespaces may map what, and which Consuls may be named.

It belongs to whoever runs the operator; LoadBalancers and ServiceMappings can't change it.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from consul_nginx.model import policy as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.problems import problems_of

Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.*_-]+$", max_length=253)]


# A folder: else what begins with shop would be in shopping too.
KvPrefix = Annotated[
    str, StringConstraints(pattern=r"^(/|[^/\s@]([^\s@]*[^/\s@])?/)$", max_length=512)
]


def _url(address: str) -> str:
    """Refuse what the pattern can't: no host, a port that is none, a bracket without the other."""
    parts = urlsplit(address)
    if not parts.hostname or parts.port == 0:
        raise ValueError("not a host with an optional port from 1 to 65535")
    parts.hostname.encode("idna")  # as whoever connects will do
    return address


Address = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+/?$", max_length=253),
    AfterValidator(_url),
]


class PolicyError(ValueError):
    """The policy can't be used; the message names the field, the value and the reason."""


class Rule(SpecModel):
    """What some namespaces may map."""

    namespaces: Annotated[
        tuple[Pattern, ...],
        Field(min_length=1, description="Namespaces of ServiceMappings; * stands for any text."),
    ]
    hostnames: Annotated[
        tuple[Pattern, ...],
        Field(
            description=(
                "Host names that they may name. Only * lets them take all requests of an HTTP "
                "listener that no other mapping names, or a TCP or UDP listener."
            )
        ),
    ] = ()
    services: Annotated[
        tuple[Pattern, ...], Field(description="Consul services that they may send traffic to.")
    ] = ()


class TemplateRule(SpecModel):
    """Whose LoadBalancers may have templates of their own, and what those may read."""

    namespaces: Annotated[
        tuple[Pattern, ...],
        Field(min_length=1, description="Namespaces of LoadBalancers; * stands for any text."),
    ]
    kv_prefixes: Annotated[
        tuple[KvPrefix, ...],
        Field(
            description=(
                "Folders of Consul's KV store, such as shop/, that templates read with the "
                "operator's token; / is all of it."
            )
        ),
    ] = ()


class Policy(SpecModel):
    """The whole file."""

    consul_addresses: Annotated[
        tuple[Address, ...],
        Field(description="Consul addresses that a LoadBalancer may name instead of the chart's."),
    ] = ()
    mappings: Annotated[
        tuple[Rule, ...] | None,
        Field(description="Who may map what; without it everybody may map everything."),
    ] = None
    templates: Annotated[
        tuple[TemplateRule, ...],
        Field(
            description=(
                "Who may have templates of their own. A template can have nginx do whatever nginx "
                "can: it is for administrators."
            )
        ),
    ] = ()


def parse_policy(text: str) -> model.Policy:
    """Read the policy's YAML; raises ``PolicyError``."""
    try:
        raw: Any = yaml.safe_load(text)
        found = Policy.model_validate({} if raw is None else raw)
    except yaml.YAMLError as error:
        raise PolicyError(f"not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(str(p).removeprefix("spec.") for p in problems_of(error, model=Policy))
        raise PolicyError(problems) from error
    return model.Policy(
        consul_addresses=frozenset(address.rstrip("/") for address in found.consul_addresses),
        rules=None
        if found.mappings is None
        else tuple(
            model.Rule(namespaces=rule.namespaces, hostnames=rule.hostnames, services=rule.services)
            for rule in found.mappings
        ),
        templates=tuple(
            model.TemplateRule(
                namespaces=rule.namespaces,
                kv_prefixes=tuple(prefix.removeprefix("/") for prefix in rule.kv_prefixes),
            )
            for rule in found.templates
        ),
    )
