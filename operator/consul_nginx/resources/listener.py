"""Ports that nginx listens on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from consul_nginx.model import listener as model
from consul_nginx.model.variables import STREAM_VARIABLES, VARIABLES, unknown_variable
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.listener_tls import RULES as TLS_RULES
from consul_nginx.resources.listener_tls import Tls, listener_tls, tls_problem
from consul_nginx.resources.namespaces import AllowedNamespaces, allowed_namespaces
from consul_nginx.resources.template import Template, config_map_key
from consul_nginx.resources.texts import DnsLabel, Network

FORMAT_MISSING = "format own needs a template, the other formats have none"
HTTP_FIELDS_ONLY = "http2 and realIp are for listeners that speak HTTP or HTTPS"
REDIRECT_IS_HTTP = "httpsRedirect is for listeners that speak HTTP"

# As in the chart's policy: a name, or one that ends or begins with *.
Pattern = Annotated[
    str, StringConstraints(pattern=r"^(\*|(\*\.)?[A-Za-z0-9._-]+\*?)$", max_length=253)
]


Networks = Annotated[
    tuple[Network, ...],
    Field(
        min_length=1,
        max_length=64,
        description="Networks of those who are believed, such as 10.0.0.0/8.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    ),
]


class HttpsRedirect(SpecModel):
    """Sends all requests of the listener to HTTPS."""

    port: Annotated[int, Field(ge=1, le=65535, description="Port that clients use for HTTPS.")] = (
        443
    )
    status_code: Annotated[
        Literal[301, 302, 307, 308], Field(description="301 and 308 are for ever.")
    ] = 301


class ProxyProtocol(SpecModel):
    """Every connection begins with the PROXY protocol, which names the client."""

    trusted_sources: Annotated[
        Networks,
        Field(
            description=(
                "Load balancers whose word is taken for the client's address; of others it is "
                "ignored."
            )
        ),
    ]


class RealIp(SpecModel):
    """The client's address comes from a header that a proxy in front sets."""

    trusted_sources: Annotated[
        Networks, Field(description="Proxies whose headers are believed, such as 10.0.0.0/8.")
    ]
    header: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$", max_length=64),
        Field(description="Header with the client's address."),
    ] = "X-Forwarded-For"


class AccessLog(SpecModel):
    """What is written of each request or session, to the nginx container's output."""

    format: Annotated[
        Literal["json", "combined", "own", "none"],
        Field(
            description=(
                "json: an object a line. combined: as web servers wrote it always (HTTP). own: "
                "the template. none: nothing."
            )
        ),
    ] = "json"
    template: Annotated[
        str,
        StringConstraints(pattern=r"^[ -~]*$", max_length=1000),
        Field(description="With own: a line with nginx's variables, such as $remote_addr $status."),
    ] = ""

    @model_validator(mode="after")
    def _has_its_template(self) -> AccessLog:
        if (self.format == "own") != bool(self.template):
            raise FieldError("template", FORMAT_MISSING)
        return self


NO_PROXY_PROTOCOL = "UDP has no PROXY protocol"
COMBINED_IS_HTTP = "the format combined is for listeners that speak HTTP"
ONE_SOURCE = "the client's address comes from proxyProtocol or from realIp, not from both"

TEMPLATE_WRITES_IT = (
    "it writes the listener's server blocks: http2, httpsRedirect, proxyProtocol, realIp and "
    "accessLog belong into it"
)

TEMPLATE_HAS_NO_TLS = (
    "tls is for listeners that mappings use: a template would not get the certificates, and what "
    "tls says would be left out; leave tls out, with protocol HTTP or TCP, or leave template out"
)

RULES: list[JsonValue] = [
    {
        "rule": (
            "!has(self.template) || !((has(self.http2) && self.http2) || has(self.httpsRedirect) "
            "|| has(self.proxyProtocol) || has(self.realIp) || self.accessLog.format != 'json')"
        ),
        "message": f"template: {TEMPLATE_WRITES_IT}",
    },
    {
        "rule": "!has(self.template) || !has(self.tls)",
        "message": f"template: {TEMPLATE_HAS_NO_TLS}",
    },
    {
        "rule": (
            "self.protocol in ['HTTP', 'HTTPS'] || !((has(self.http2) && self.http2) || "
            "has(self.realIp))"
        ),
        "message": HTTP_FIELDS_ONLY,
    },
    {
        "rule": "self.protocol == 'HTTP' || !has(self.httpsRedirect)",
        "message": REDIRECT_IS_HTTP,
    },
    {
        "rule": "self.protocol != 'UDP' || !has(self.proxyProtocol)",
        "message": NO_PROXY_PROTOCOL,
    },
    {
        "rule": "self.protocol in ['HTTP', 'HTTPS'] || self.accessLog.format != 'combined'",
        "message": COMBINED_IS_HTTP,
    },
    {
        "rule": "!(has(self.proxyProtocol) && has(self.realIp))",
        "message": ONE_SOURCE,
    },
    {
        "rule": "(self.accessLog.format == 'own') == (self.accessLog.template != '')",
        "message": FORMAT_MISSING,
    },
    *TLS_RULES,
]


class Listener(SpecModel):
    """A port that nginx listens on."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": RULES})

    name: Annotated[
        DnsLabel, Field(description="Name by which ServiceMappings choose this listener.")
    ]
    protocol: Annotated[
        Literal["HTTP", "HTTPS", "TLS", "TCP", "UDP"],
        Field(
            description=(
                "What is spoken on the port. HTTP and HTTPS choose a mapping by host name and "
                "path, TLS by the name that the client asks for (SNI). All of a TCP or UDP port "
                "goes to one mapping. A TLS, TCP or UDP port is open only while it has a mapping."
            )
        ),
    ] = "HTTP"
    port: Annotated[
        int, Field(ge=1, le=65535, description="Port of the nginx pods and of their Service.")
    ]
    tls: Annotated[
        Tls | None, Field(description="What nginx does with TLS, for protocols HTTPS and TLS.")
    ] = None
    http2: Annotated[
        bool | None,
        Field(
            description=(
                "Also speak HTTP/2; by default with HTTPS. With HTTP, clients have to know that "
                "beforehand."
            )
        ),
    ] = None
    https_redirect: Annotated[
        HttpsRedirect | None,
        Field(description="All requests are sent to HTTPS; the listener then has no mappings."),
    ] = None
    proxy_protocol: Annotated[
        ProxyProtocol | None,
        Field(description="Connections begin with the PROXY protocol; not with UDP."),
    ] = None
    real_ip: Annotated[
        RealIp | None,
        Field(description="Take the client's address from a header of proxies in front."),
    ] = None
    access_log: Annotated[AccessLog, Field(description="What is logged.")] = AccessLog()
    template: Annotated[
        Template | None,
        Field(
            description=(
                "Your own template for this listener: its server blocks, with their listen, and "
                "what they need. It takes the place of mappings. Whoever runs the operator has to "
                "allow it (chart: policy.templates)."
            )
        ),
    ] = None
    allowed_namespaces: Annotated[
        AllowedNamespaces | None,
        Field(
            description=(
                "Whose ServiceMappings this listener takes, instead of those that the "
                "LoadBalancer's allowedNamespaces says; by default those."
            )
        ),
    ] = None
    allowed_hostnames: Annotated[
        tuple[Pattern, ...],
        Field(
            max_length=64,
            description=(
                "Host names that mappings may take, such as shop.example.com or *.example.com; "
                "empty: any. A mapping without host names needs *."
            ),
        ),
    ] = ()
    allowed_services: Annotated[
        tuple[Pattern, ...],
        Field(
            max_length=64,
            description="Consul services that mappings may name, such as shop-*; empty: any.",
        ),
    ] = ()

    @model_validator(mode="after")
    def _fields_fit(self) -> Listener:
        protocol = model.Protocol(self.protocol)
        speaks_http = protocol.is_http
        if not speaks_http and (self.http2 or self.real_ip):
            raise FieldError("protocol", HTTP_FIELDS_ONLY)
        if self.https_redirect is not None and protocol is not model.Protocol.HTTP:
            raise FieldError("httpsRedirect", REDIRECT_IS_HTTP)
        if (problem := tls_problem(protocol=protocol, tls=self.tls)) is not None:
            raise FieldError("tls", problem)
        if self.protocol == "UDP" and self.proxy_protocol is not None:
            raise FieldError("proxyProtocol", NO_PROXY_PROTOCOL)
        known = VARIABLES if speaks_http else STREAM_VARIABLES
        if (name := unknown_variable(self.access_log.template, known=known)) is not None:
            raise FieldError(
                "accessLog",
                f"template: {name} is no variable that this listener's log has: write $$ "
                f"for a dollar sign, or one of {', '.join(f'${item}' for item in sorted(known))}",
            )
        if not speaks_http and self.access_log.format == "combined":
            raise FieldError("accessLog", COMBINED_IS_HTTP)
        if self.real_ip is not None and self.proxy_protocol is not None:
            raise FieldError("realIp", ONE_SOURCE)
        if self.template is not None and self.tls is not None:
            raise FieldError("template", TEMPLATE_HAS_NO_TLS)
        replaced = self.http2, self.https_redirect, self.proxy_protocol, self.real_ip
        if self.template is not None and (any(replaced) or self.access_log != AccessLog()):
            raise FieldError("template", TEMPLATE_WRITES_IT)
        return self


def listener(spec: Listener, *, namespace: str) -> model.Listener:
    """The same for decisions; ``namespace`` is the LoadBalancer's."""
    redirect, protocol = spec.https_redirect, model.Protocol(spec.protocol)
    return model.Listener(
        name=spec.name,
        port=spec.port,
        protocol=protocol,
        tls=listener_tls(spec.tls, namespace=namespace),
        http2=protocol is model.Protocol.HTTPS if spec.http2 is None else spec.http2,
        https_redirect=model.HttpsRedirect(port=redirect.port, status=redirect.status_code)
        if redirect is not None
        else None,
        client_address=_client_address(spec),
        access_log=model.AccessLog(
            format=model.LogFormat(spec.access_log.format), template=spec.access_log.template
        ),
        allowed_namespaces=allowed_namespaces(spec.allowed_namespaces)
        if spec.allowed_namespaces is not None
        else None,
        allowed_hostnames=spec.allowed_hostnames,
        allowed_services=spec.allowed_services,
        template=config_map_key(spec.template),
    )


def _client_address(spec: Listener) -> model.ClientAddress | None:
    if (proxy := spec.proxy_protocol) is not None:
        return model.ClientAddress(trusted=tuple(sorted(set(proxy.trusted_sources))), header=None)
    if (real_ip := spec.real_ip) is not None:
        trusted = tuple(sorted(set(real_ip.trusted_sources)))
        return model.ClientAddress(trusted=trusted, header=real_ip.header)
    return None
