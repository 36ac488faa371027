"""How nginx makes sure that an encrypted backend is the one that is meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.model.authorities import Authority, AuthorityKind
from consul_nginx.model.names import HOSTNAME, MAX_HOSTNAME
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.texts import DnsName

VERIFIED_BY = "verify and caCertificateRefs need each other"
NEEDS_TLS = "backendTls is for backendProtocol HTTPS and GRPCS"


class AuthorityRef(SpecModel):
    """An object of the same namespace with certificates of authorities in ca.crt."""

    kind: Annotated[
        Literal["Secret", "ConfigMap"],
        Field(
            description="Kind of the object; Secrets only where the chart's secrets.namespaces is."
        ),
    ] = "Secret"
    name: Annotated[DnsName, Field(description="Name of the object.")]


class BackendTls(SpecModel):
    """What is asked of a backend's certificate."""

    verify: Annotated[
        bool,
        Field(
            description=(
                "Whether the certificate has to be valid, signed by one of the authorities, and "
                "for the name; a backend that shows another one is tried no further (502)."
            )
        ),
    ] = True
    ca_certificate_refs: Annotated[
        tuple[AuthorityRef, ...],
        Field(max_length=8, description="The authorities, all of these objects' together."),
    ] = ()
    server_name: Annotated[
        Annotated[
            str,
            StringConstraints(pattern=f"^{HOSTNAME.pattern}$", max_length=MAX_HOSTNAME),
        ]
        | None,
        Field(
            description=(
                "Name that nginx asks the backend for (SNI), and that the certificate must be for; "
                "by default the host that the client asks for."
            )
        ),
    ] = None

    @model_validator(mode="after")
    def _is_whole(self) -> BackendTls:
        if self.verify != bool(self.ca_certificate_refs):
            raise FieldError("caCertificateRefs", VERIFIED_BY)
        return self


BACKEND_TLS_RULES: list[JsonValue] = [
    {
        "rule": "self.verify == (self.caCertificateRefs.size() > 0)",
        "message": VERIFIED_BY,
        "fieldPath": ".caCertificateRefs",
    }
]


def backend_tls(spec: BackendTls | None, *, namespace: str) -> model.BackendTls | None:
    """The same for decisions; ``namespace`` is the mapping's."""
    if spec is None:
        return None
    return model.BackendTls(
        authorities=authorities(spec.ca_certificate_refs, namespace=namespace),
        server_name=spec.server_name or "",
    )


def authorities(refs: Iterable[AuthorityRef], *, namespace: str) -> tuple[Authority, ...]:
    """What refs of an object in ``namespace`` mean, each once."""
    named = {
        Authority(kind=AuthorityKind(ref.kind), namespace=namespace, name=ref.name): None
        for ref in refs
    }
    return tuple(named)
