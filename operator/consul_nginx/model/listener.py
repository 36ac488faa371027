"""A listener: a port of nginx's, and what is understood on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consul_nginx.model.config_map import ConfigMapKey
from consul_nginx.model.namespaces import AllowedNamespaces
from consul_nginx.model.tls import ListenerTls


class Protocol(StrEnum):
    """What a listener speaks."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"

    @property
    def transport(self) -> str:
        """The protocol that its port belongs to: TCP and UDP count their ports apart."""
        return "UDP" if self is Protocol.UDP else "TCP"

    @property
    def is_http(self) -> bool:
        """Whether mappings are chosen by host name and path."""
        return self in (Protocol.HTTP, Protocol.HTTPS)

    @property
    def has_hostnames(self) -> bool:
        """Whether clients say which host they want: in requests, or by SNI."""
        return self.is_http or self is Protocol.TLS


class LogFormat(StrEnum):
    """How a request or session is logged."""

    JSON = "json"
    COMBINED = "combined"
    OWN = "own"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class AccessLog:
    """``template`` is text with nginx's variables, of an own format only."""

    format: LogFormat = LogFormat.JSON
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class HttpsRedirect:
    """Where all requests of a listener are sent."""

    port: int
    status: int


@dataclass(frozen=True, kw_only=True)
class ClientAddress:
    """Who in front of nginx is believed about the client's address.

    ``header`` None: it comes by the PROXY protocol, with which every connection begins.
    """

    trusted: tuple[str, ...]
    header: str | None

    @property
    def by_proxy_protocol(self) -> bool:
        """Whether connections begin with the PROXY protocol."""
        return self.header is None


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A port that nginx listens on.

    ``allowed_namespaces`` takes the place of the LoadBalancer's; None: that one holds.
    ``allowed_hostnames`` and ``allowed_services`` are patterns; empty ones allow everything.
    ``template`` writes all of it, instead of mappings.
    """

    name: str
    port: int
    protocol: Protocol
    tls: ListenerTls | None = None
    http2: bool = False
    https_redirect: HttpsRedirect | None = None
    client_address: ClientAddress | None = None
    access_log: AccessLog = AccessLog()
    allowed_namespaces: AllowedNamespaces | None = None
    allowed_hostnames: tuple[str, ...] = ()
    allowed_services: tuple[str, ...] = ()
    template: ConfigMapKey | None = None
