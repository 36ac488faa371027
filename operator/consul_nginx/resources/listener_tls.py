"""TLS of a listener."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from consul_nginx.model.listener import Protocol
from consul_nginx.model.tls import ListenerTls, TlsMode, TlsVersion
from consul_nginx.resources.backend_tls import AuthorityRef, authorities
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import DnsName

TLS_BELONGS = "tls belongs to the protocols HTTPS and TLS, and each of them needs it"
PASSTHROUGH_IS_TLS = "mode Passthrough is for protocol TLS: HTTPS answers the handshake itself"
VALIDATION_TERMINATES = "clientValidation needs mode Terminate: else the backend answers"
CERTIFICATES_BELONG = (
    "certificateRefs name what nginx shows with mode Terminate, at least one; with Passthrough it "
    "shows none"
)

RULES: list[JsonValue] = [
    {"rule": "(self.protocol in ['HTTPS', 'TLS']) == has(self.tls)", "message": TLS_BELONGS},
    {
        "rule": "!has(self.tls) || self.tls.mode == 'Terminate' || self.protocol == 'TLS'",
        "message": PASSTHROUGH_IS_TLS,
    },
    {
        "rule": (
            "!has(self.tls) || (self.tls.mode == 'Passthrough') == "
            "(self.tls.certificateRefs.size() == 0)"
        ),
        "message": CERTIFICATES_BELONG,
    },
    {
        "rule": (
            "!has(self.tls) || self.tls.mode == 'Terminate' || !has(self.tls.clientValidation)"
        ),
        "message": VALIDATION_TERMINATES,
    },
]


class CertificateRef(SpecModel):
    """A Secret of type kubernetes.io/tls in the LoadBalancer's namespace."""

    name: Annotated[DnsName, Field(description="Name of the Secret.")]


class ClientValidation(SpecModel):
    """Clients need a certificate."""

    ca_certificate_refs: Annotated[
        tuple[AuthorityRef, ...],
        Field(
            min_length=1,
            max_length=8,
            description=(
                "Objects of this namespace whose authorities have to have signed it. Without one, "
                "TCP clients are sent away, and those of HTTPS get 400."
            ),
        ),
    ]


class Tls(SpecModel):
    """What nginx does with the TLS of a listener."""

    mode: Annotated[
        Literal["Terminate", "Passthrough"],
        Field(
            description=(
                "Terminate: nginx shows a certificate and decrypts. Passthrough, with protocol "
                "TLS: what comes is handed on as it is, to the mapping whose host name the client "
                "asks for by SNI."
            )
        ),
    ] = "Terminate"
    certificate_refs: Annotated[
        tuple[CertificateRef, ...],
        Field(
            max_length=16,
            description=(
                "Secrets of type kubernetes.io/tls in this namespace, which the chart's "
                "secrets.namespaces has to name. Each host name gets the first one whose "
                "certificate is for it, every other name the first of all. An RSA and an ECDSA "
                "certificate for the same names go together: each client is shown the one that it "
                "can verify."
            ),
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    client_validation: Annotated[
        ClientValidation | None,
        Field(description="Clients need a certificate too (mutual TLS), with mode Terminate."),
    ] = None
    min_version: Annotated[
        Literal["TLSv1.2", "TLSv1.3"],
        Field(description="The oldest version of TLS that clients may speak."),
    ] = "TLSv1.2"


def tls_problem(*, protocol: Protocol, tls: Tls | None) -> str | None:
    """What is wrong with the two together: the rules above once more."""
    if (protocol in (Protocol.HTTPS, Protocol.TLS)) != (tls is not None):
        return TLS_BELONGS
    if tls is None:
        return None
    passes_through = tls.mode == "Passthrough"
    if passes_through and protocol is not Protocol.TLS:
        return PASSTHROUGH_IS_TLS
    if passes_through and tls.client_validation is not None:
        return VALIDATION_TERMINATES
    if passes_through != (not tls.certificate_refs):
        return CERTIFICATES_BELONG
    return None


def listener_tls(spec: Tls | None, *, namespace: str) -> ListenerTls | None:
    """In the model's terms; ``namespace`` is the LoadBalancer's."""
    if spec is None:
        return None
    clients = spec.client_validation
    return ListenerTls(
        mode=TlsMode(spec.mode),
        secrets=tuple(dict.fromkeys(ref.name for ref in spec.certificate_refs)),
        minimum=TlsVersion(spec.min_version),
        client_authorities=authorities(clients.ca_certificate_refs, namespace=namespace)
        if clients is not None
        else (),
    )
