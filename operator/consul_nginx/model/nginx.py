"""What nginx should be: the plan's result, the renderer's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from consul_nginx.model.kubernetes import IpFamily, ReloadSettings
from consul_nginx.model.listener import AccessLog, ClientAddress, HttpsRedirect
from consul_nginx.model.mapping import Answer, Balancing, Endpoint, Headers, Health, Path, Traffic


class Layer(StrEnum):
    """nginx's two worlds: each has its own upstreams."""

    HTTP = "http"
    STREAM = "stream"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A group of endpoints, and how they share what comes.

    ``endpoints`` is None when Consul has not answered yet: nginx then keeps what it has.
    """

    id: str
    layer: Layer
    endpoints: tuple[Endpoint, ...] | None
    balancing: Balancing = field(default_factory=Balancing)
    health: Health = field(default_factory=Health)


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Requests go on to an upstream.

    ``limited`` names what is counted for its limits: other mappings' requests don't count.
    """

    upstream: str
    traffic: Traffic
    limited: str = ""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """nginx answers itself, with more headers than the answer's own."""

    answer: Answer
    headers: Headers


Action = Proxy | Reply


@dataclass(frozen=True, kw_only=True)
class Route:
    """What becomes of the requests with a path."""

    path: Path
    action: Action


@dataclass(frozen=True, kw_only=True)
class VirtualHost:
    """Routes of one host name; ``hostname`` None takes the requests that no other host takes.

    ``routes`` has the strongest first; ``exact`` those of paths that are compared literally, which
    nginx prefers to all others.
    """

    hostname: str | None
    routes: tuple[Route, ...]
    exact: tuple[tuple[str, Route], ...] = ()


@dataclass(frozen=True, kw_only=True)
class HttpListener:
    """A port with its virtual hosts."""

    id: str
    port: int
    hosts: tuple[VirtualHost, ...]
    http2: bool = False
    https_redirect: HttpsRedirect | None = None
    client_address: ClientAddress | None = None
    access_log: AccessLog = field(default_factory=AccessLog)


@dataclass(frozen=True, kw_only=True)
class StreamListener:
    """A TCP or UDP port whose connections all go to one upstream."""

    id: str
    port: int
    udp: bool
    upstream: str
    traffic: Traffic = field(default_factory=Traffic)
    limited: str = ""
    client_address: ClientAddress | None = None
    access_log: AccessLog = field(default_factory=AccessLog)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything one LoadBalancer's nginx is told."""

    listeners: tuple[HttpListener, ...]
    streams: tuple[StreamListener, ...]
    upstreams: tuple[Upstream, ...]
    reload: ReloadSettings
    ip_families: tuple[IpFamily, ...] = (IpFamily.V4,)
