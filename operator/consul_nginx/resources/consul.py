"""The Consul that a LoadBalancer asks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from consul_nginx.model.consul import ConsulSource
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import DnsName, SecretKey

ADDRESS_MISSING = "tokenSecretRef is for an address of your own: name that too"


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


def consul_source(*, spec: Consul, namespace: str) -> ConsulSource:
    """The Consul that a LoadBalancer of ``namespace`` asks."""
    secret = spec.token_secret_ref
    return ConsulSource(
        address=spec.address.rstrip("/"),
        token_secret=(namespace, secret.name, secret.key) if secret is not None else (),
    )
