"""The operator's registration settings file: where Pods are registered, and who may what.

It belongs to whoever runs the operator; annotations can't change it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError

from consul_nginx.model import registration as model
from consul_nginx.model.names import CLUSTER_NAME, MAX_TAG, is_tag
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.policy import Pattern
from consul_nginx.resources.problems import problems_of


class RegistrationFileError(ValueError):
    """The file can't be used; the message names the field, the value and the reason."""


@dataclass(frozen=True, kw_only=True)
class RegistrationFile:
    """What the file says.

    ``settings.cluster`` is empty when it names no cluster: whoever reads it has to find an
    identity. ``agent_scheme`` and ``agent_port`` are how each node's own Consul agent is reached
    in mode ``agent``.
    """

    settings: model.RegistrationSettings
    agent_scheme: str
    agent_port: int

    def settings_of(self, *, cluster: str) -> model.RegistrationSettings:
        """The settings of a cluster: the file's own name for it, else ``cluster``."""
        return replace(self.settings, cluster=self.settings.cluster or cluster)


def _network(value: object) -> IPv4Network | IPv6Network:
    if not isinstance(value, str):
        raise ValueError("not a network such as 10.0.0.0/8")  # noqa: TRY004 - pydantic's contract
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"not a network such as 10.0.0.0/8: {error}") from error


def _tag(text: str) -> str:
    if not is_tag(text):
        raise ValueError(f"not a tag: printable, no spaces around it, at most {MAX_TAG} characters")
    return text


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Tag = Annotated[str, AfterValidator(_tag)]


class Rule(SpecModel):
    """What some namespaces may register."""

    namespaces: Annotated[
        tuple[Pattern, ...],
        Field(min_length=1, description="Namespaces of Pods; * stands for any text."),
    ]
    services: Annotated[
        tuple[Pattern, ...], Field(description="Names of services that they may register.")
    ]


class NamespaceSelector(SpecModel):
    """Namespaces, by their labels."""

    match_labels: Annotated[
        dict[str, str], Field(description="Labels that a namespace must have; none: all do.")
    ]


class Agent(SpecModel):
    """How the Consul agent of a Pod's own node is reached."""

    scheme: Annotated[Literal["http", "https"], Field(description="Its protocol.")] = "http"
    port: Annotated[int, Field(strict=True, ge=1, le=65535, description="Its port.")] = 8500


class File(SpecModel):
    """The whole file."""

    cluster_name: Annotated[
        Annotated[str, StringConstraints(pattern=CLUSTER_NAME)] | None,
        Field(description="Tells clusters that share a Consul apart; by default it is found out."),
    ] = None
    mode: Annotated[
        model.Mode, Field(description="On the node's own Consul agent, or in Consul's catalog.")
    ] = model.Mode.CATALOG
    explicit: Annotated[
        bool, Field(strict=True, description="Only what has a NAME is registered.")
    ] = False
    address: Annotated[
        model.Address, Field(description="Of a port with hostPort: the Pod's, or the node's.")
    ] = model.Address.POD
    ip_family: Annotated[
        model.IPFamily, Field(description="IPv4 or IPv6; empty: the Pod's first address.")
    ] = model.IPFamily.FIRST
    tags: Annotated[tuple[Tag, ...], Field(max_length=64, description="Added to all.")] = ()
    esm: Annotated[
        bool, Field(strict=True, description="consul-esm runs checks in mode catalog.")
    ] = False
    allowed_ips: Annotated[
        tuple[Network, ...] | None,
        Field(alias="allowedIPs", description="Where SERVICE_IP may be; without it anywhere."),
    ] = None
    rules: Annotated[
        tuple[Rule, ...] | None,
        Field(description="Who may register what; without it everybody may everything."),
    ] = None
    all_pods_in: Annotated[
        NamespaceSelector | None,
        Field(description="Namespaces whose Pods are registered without annotations too."),
    ] = None
    agent: Annotated[Agent, Field(description="Consul's agents, in mode agent.")] = Agent()


def parse_registration_file(text: str) -> RegistrationFile:
    """Read the file's YAML; raises ``RegistrationFileError``."""
    try:
        raw: Any = yaml.safe_load(text)
        if not isinstance(raw, dict | None):
            raise RegistrationFileError("not a mapping of fields to values")
        found = File.model_validate(raw or {})
    except yaml.YAMLError as error:
        raise RegistrationFileError(f"not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(str(p).removeprefix("spec.") for p in problems_of(error, model=File))
        raise RegistrationFileError(problems) from error
    return RegistrationFile(
        settings=_settings(found), agent_scheme=found.agent.scheme, agent_port=found.agent.port
    )


def _settings(file: File) -> model.RegistrationSettings:
    return model.RegistrationSettings(
        cluster=file.cluster_name or "",
        mode=file.mode,
        explicit=file.explicit,
        address=file.address,
        ip_family=file.ip_family,
        tags=file.tags,
        esm=file.esm,
        allowed_ips=file.allowed_ips,
        rules=None
        if file.rules is None
        else tuple(
            model.RegistrationRule(namespaces=rule.namespaces, services=rule.services)
            for rule in file.rules
        ),
        all_pods_in=None if file.all_pods_in is None else file.all_pods_in.match_labels,
    )
