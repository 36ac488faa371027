"""Requests that need a user's name and password (HTTP Basic, RFC 7617)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from consul_nginx.model import mapping as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import DnsName

REALM_OFF = "off means to nginx that nobody is asked for a password: choose another word"


def _asks(realm: str) -> str:
    if realm == "off":
        raise ValueError(REALM_OFF)
    return realm


class UsersRef(SpecModel):
    """A Secret of the mapping's namespace with users in its key auth."""

    name: Annotated[DnsName, Field(description="Name of the Secret.")]


class BasicAuth(SpecModel):
    """Who is let in."""

    secret_ref: Annotated[
        UsersRef,
        Field(
            description=(
                "A Secret of this namespace, which has to be the LoadBalancer's too and in the "
                "chart's secrets.namespaces; its key auth has lines as htpasswd -B writes them. "
                "Without it, requests get 503."
            )
        ),
    ]
    realm: Annotated[
        str,
        # What is in quotes in the answer's header, and nothing that ends them.
        StringConstraints(pattern=r"^[ !#-\[\]-~]{1,64}$"),
        AfterValidator(_asks),
        Field(
            description="What clients are told that the password is for.",
            json_schema_extra={
                "x-kubernetes-validations": [{"rule": "self != 'off'", "message": REALM_OFF}]
            },
        ),
    ] = "Authentication required"


def basic_auth(spec: BasicAuth | None) -> model.BasicAuth | None:
    """The same for decisions."""
    if spec is None:
        return None
    return model.BasicAuth(secret=spec.secret_ref.name, realm=spec.realm)
