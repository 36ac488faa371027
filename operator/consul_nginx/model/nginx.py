"""What nginx should be: the plan's result, the renderer's input."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consul_nginx.model.kubernetes import ReloadSettings


@dataclass(frozen=True, kw_only=True, order=True)
class Endpoint:
    """One server of an upstream; ``address`` is an IP literal that passed the plan's rules."""

    address: str
    port: int
    weight: int = 1


class Layer(StrEnum):
    """nginx's two worlds: each has its own upstreams."""

    HTTP = "http"
    STREAM = "stream"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A group of endpoints.

    ``endpoints`` is None when Consul has not answered yet: nginx then keeps what it has.
    """

    id: str
    layer: Layer
    endpoints: tuple[Endpoint, ...] | None


@dataclass(frozen=True, kw_only=True, order=True)
class Route:
    """Requests below a path prefix go to an upstream."""

    path_prefix: str
    upstream: str


@dataclass(frozen=True, kw_only=True)
class VirtualHost:
    """Routes of one host name; ``hostname`` None takes the requests that no other host takes."""

    hostname: str | None
    routes: tuple[Route, ...]


@dataclass(frozen=True, kw_only=True)
class HttpListener:
    """A port with its virtual hosts."""

    id: str
    port: int
    hosts: tuple[VirtualHost, ...]


@dataclass(frozen=True, kw_only=True)
class StreamListener:
    """A TCP or UDP port whose connections all go to one upstream."""

    id: str
    port: int
    udp: bool
    upstream: str


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything one LoadBalancer's nginx is told."""

    listeners: tuple[HttpListener, ...]
    streams: tuple[StreamListener, ...]
    upstreams: tuple[Upstream, ...]
    reload: ReloadSettings
