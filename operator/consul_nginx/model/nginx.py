"""What nginx should be: the plan's result, the renderer's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from consul_nginx.model.kubernetes import IpFamily, ReloadSettings
from consul_nginx.model.listener import AccessLog, ClientAddress, HttpsRedirect, Listener
from consul_nginx.model.mapping import (
    Answer,
    BackendProtocol,
    BackendTls,
    Balancing,
    Endpoint,
    ExternalAuth,
    Headers,
    Health,
    Mirror,
    Path,
    Traffic,
)
from consul_nginx.model.request_match import ANY_REQUEST, RequestMatch
from consul_nginx.model.secret_files import SecretFile
from consul_nginx.model.tls import TlsVersion


class Layer(StrEnum):
    """nginx's two worlds: each has its own upstreams."""

    HTTP = "http"
    STREAM = "stream"


def layer_of(listener: Listener) -> Layer:
    """The world that a listener is in."""
    return Layer.HTTP if listener.protocol.is_http else Layer.STREAM


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A group of endpoints, and how they share what comes.

    ``endpoints`` is None when Consul has not answered yet: nginx then keeps what it has, or is told
    of the ``fallback`` when it has nothing.
    """

    id: str
    layer: Layer
    endpoints: tuple[Endpoint, ...] | None
    fallback: tuple[Endpoint, ...] = ()
    encrypted: bool = False
    balancing: Balancing = field(default_factory=Balancing)
    health: Health = field(default_factory=Health)


@dataclass(frozen=True, kw_only=True)
class Target:
    """An upstream of the ``http`` world, and what is spoken with it."""

    upstream: str
    protocol: BackendProtocol = BackendProtocol.HTTP
    tls: BackendTls | None = None


@dataclass(frozen=True, kw_only=True)
class Mirroring:
    """Where copies of requests go, and how."""

    target: Target
    mirror: Mirror


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """Who is asked whether a request is served, and how."""

    target: Target
    auth: ExternalAuth


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Requests go on to an upstream.

    ``limited`` names what is counted for its limits: other mappings' requests don't count.
    """

    target: Target
    traffic: Traffic
    limited: str = ""
    mirroring: Mirroring | None = None
    authorization: Authorization | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """nginx answers itself, with more headers than the answer's own."""

    answer: Answer
    headers: Headers


Action = Proxy | Reply


@dataclass(frozen=True, kw_only=True)
class Route:
    """What becomes of the requests with a path that ``match``."""

    path: Path
    action: Action
    match: RequestMatch = ANY_REQUEST


class Candidate(NamedTuple):
    """A route that can take requests of a location.

    ``path_known``: they all have its path; else that is seen when a request is there.
    """

    route: Route
    path_known: bool

    @property
    def takes_all(self) -> bool:
        """Whether no request of the location is left over."""
        return self.path_known and self.route.match.is_any


class Location(NamedTuple):
    """Requests of a host that nginx finds by one comparison of the path, and who takes them.

    ``route`` takes all of them. Where it is None, the first of the ``candidates`` does that can;
    without one they are answered 404. ``path`` of type Exact is any path that nginx has to know
    literally, a prefix without its slash too.
    """

    path: Path
    route: Route | None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VirtualHost:
    """Routes of one host name; ``hostname`` None takes the requests that no other host takes.

    ``routes`` has the strongest first; ``locations`` those of paths that are compared literally,
    which nginx prefers to all others, then in order of routes. ``certificate`` is the id of the one
    that is shown.
    """

    hostname: str | None
    routes: tuple[Route, ...]
    locations: tuple[Location, ...] = ()
    certificate: str | None = None


@dataclass(frozen=True, kw_only=True)
class CertificateSlot:
    """What server blocks include; without ``files`` there is none yet, and handshakes fail.

    With several, for the same names, it depends on the client's abilities which one is shown.
    """

    id: str
    files: tuple[SecretFile, ...]


@dataclass(frozen=True, kw_only=True)
class UsersSlot:
    """What locations include; ``file`` None: there is none, and nobody is let in."""

    id: str
    file: SecretFile | None


@dataclass(frozen=True, kw_only=True)
class AuthoritySlot:
    """Authorities in PEM; None: not known now, nginx keeps what it has of them."""

    id: str
    pem: str | None


@dataclass(frozen=True, kw_only=True)
class Termination:
    """nginx answers handshakes; ``certificate`` is shown for names that no host has.

    ``client_authorities`` is the id of those that clients' certificates have to be by, if any.
    """

    minimum: TlsVersion
    certificate: str
    client_authorities: str | None = None


@dataclass(frozen=True, kw_only=True)
class HttpListener:
    """A port with its virtual hosts; ``tls`` None: nothing is encrypted."""

    id: str
    port: int
    hosts: tuple[VirtualHost, ...]
    tls: Termination | None = None
    http2: bool = False
    https_redirect: HttpsRedirect | None = None
    client_address: ClientAddress | None = None
    access_log: AccessLog = field(default_factory=AccessLog)


@dataclass(frozen=True, kw_only=True)
class StreamServer:
    """Connections for a host name by SNI, None for all that no other takes, go to an upstream."""

    hostname: str | None
    upstream: str
    traffic: Traffic = field(default_factory=Traffic)
    limited: str = ""
    certificate: str | None = None


@dataclass(frozen=True, kw_only=True)
class StreamListener:
    """A port whose connections are handed on: decrypted with ``tls``, else as they are.

    ``reads_sni``: the host name is read from a handshake that somebody else answers.
    """

    id: str
    port: int
    udp: bool
    servers: tuple[StreamServer, ...]
    tls: Termination | None = None
    reads_sni: bool = False
    client_address: ClientAddress | None = None
    access_log: AccessLog = field(default_factory=AccessLog)


@dataclass(frozen=True, kw_only=True)
class OwnPart:
    """What a user's own template writes; ``text`` None: nginx keeps what it has of it."""

    id: str
    layer: Layer
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything one LoadBalancer's nginx is told."""

    listeners: tuple[HttpListener, ...]
    streams: tuple[StreamListener, ...]
    upstreams: tuple[Upstream, ...]
    reload: ReloadSettings
    ip_families: tuple[IpFamily, ...] = (IpFamily.V4,)
    certificates: tuple[CertificateSlot, ...] = ()
    authorities: tuple[AuthoritySlot, ...] = ()
    users: tuple[UsersSlot, ...] = ()
    own_parts: tuple[OwnPart, ...] = ()
