"""A ServiceMapping: which requests are meant, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property

from consul_nginx.model.authorities import Authority
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.health import DEFAULT_POLICY, HealthPolicy
from consul_nginx.model.kubernetes import Meta, ObjectRef
from consul_nginx.model.request_match import ANY_REQUEST, RequestMatch


class PathType(StrEnum):
    """How a path is compared, the strongest first (Gateway API: ``PathMatchType``)."""

    EXACT = "Exact"
    REGULAR_EXPRESSION = "RegularExpression"
    PREFIX = "Prefix"


@dataclass(frozen=True, kw_only=True, order=True)
class Path:
    """Which request paths are meant; a prefix has no slash at its end, but for ``/`` itself."""

    type: PathType = PathType.PREFIX
    value: str = "/"

    def __str__(self) -> str:
        return self.value if self.type is PathType.PREFIX else f"{self.value} ({self.type})"


@dataclass(frozen=True, kw_only=True, order=True)
class Endpoint:
    """One server of an upstream; ``address`` is an IP literal that passed the plan's rules."""

    address: str
    port: int
    weight: int = 1


@dataclass(frozen=True, kw_only=True, order=True)
class Backend:
    """Instances of one service; ``weight`` is their share of a mapping's requests.

    ``nearest``: so many of the healthy ones get all of it, those that are nearest; 0: all do.
    """

    query: ServiceQuery
    weight: int = 1
    nearest: int = 0


class Algorithm(StrEnum):
    """How nginx chooses among the endpoints."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_CONNECTIONS = "LeastConnections"
    RANDOM_TWO = "RandomTwo"
    IP_HASH = "IPHash"
    CONSISTENT_HASH = "ConsistentHash"


class HashKeyType(StrEnum):
    """What of a request the consistent hash is made of."""

    CLIENT_IP = "ClientIP"
    URI = "URI"
    HEADER = "Header"
    COOKIE = "Cookie"
    QUERY_PARAMETER = "QueryParameter"


@dataclass(frozen=True, kw_only=True, order=True)
class HashKey:
    """``name`` is that of the header, cookie or parameter; empty for the others."""

    type: HashKeyType = HashKeyType.CLIENT_IP
    name: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class Keepalive:
    """Idle connections to the endpoints that each worker keeps; ``timeout`` in seconds."""

    connections: int = 32
    requests: int = 1000
    timeout: float = 60.0


@dataclass(frozen=True, kw_only=True, order=True)
class Sticky:
    """A cookie that keeps a client with its endpoint.

    ``max_age`` in seconds, None: until the browser is closed.
    """

    cookie: str
    max_age: float | None = None
    secure: bool = False


@dataclass(frozen=True, kw_only=True, order=True)
class Balancing:
    """How requests are spread; ``max_connections`` per endpoint of each nginx, 0: no limit."""

    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    hash_key: HashKey = HashKey()
    max_connections: int = 0
    keepalive: Keepalive = Keepalive()
    sticky: Sticky | None = None


@dataclass(frozen=True, kw_only=True, order=True)
class Health:
    """When nginx itself avoids an endpoint: after ``max_fails`` within ``fail_timeout`` seconds.

    0 fails: never (decision 0015).
    """

    max_fails: int = 0
    fail_timeout: float = 10.0


class BackendProtocol(StrEnum):
    """What is spoken with the endpoints."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    GRPC = "GRPC"
    GRPCS = "GRPCS"

    @property
    def is_grpc(self) -> bool:
        """Whether nginx's grpc module speaks it."""
        return self in (BackendProtocol.GRPC, BackendProtocol.GRPCS)

    @property
    def is_tls(self) -> bool:
        """Whether it is encrypted."""
        return self in (BackendProtocol.HTTPS, BackendProtocol.GRPCS)


@dataclass(frozen=True, kw_only=True, order=True)
class BackendTls:
    """``authorities`` empty: certificates are not verified; ``server_name`` empty: the host."""

    authorities: tuple[Authority, ...]
    server_name: str


@dataclass(frozen=True, kw_only=True, order=True)
class BackendGroup:
    """All that an upstream is made of; mappings with equal groups share one.

    ``policy`` decides which instances are in it, ``health`` when nginx avoids one of these.
    ``fallback`` gets the requests when the policy leaves none. ``protocol`` and ``tls`` are part of
    it since nginx keeps connections and TLS sessions with its servers: whoever asks for another
    certificate must not get one that was verified for somebody else.
    """

    backends: tuple[Backend, ...]
    balancing: Balancing = Balancing()
    policy: HealthPolicy = DEFAULT_POLICY
    health: Health = Health()
    fallback: tuple[Endpoint, ...] = ()
    protocol: BackendProtocol = BackendProtocol.HTTP
    tls: BackendTls | None = None

    @cached_property
    def queries(self) -> tuple[ServiceQuery, ...]:
        """What Consul is asked for it."""
        return tuple(backend.query for backend in self.backends)

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, kw_only=True, order=True)
class Mirror:
    """Copies of requests go to a group whose answers nobody gets; ``timeout`` in seconds."""

    group: BackendGroup
    percent: int = 100
    timeout: float = 2.0


@dataclass(frozen=True, kw_only=True, order=True)
class ExternalAuth:
    """A group is asked whether a request is served; ``timeout`` in seconds.

    ``request_headers`` are those of the client's that it is told, None: all. What it says in
    ``response_headers`` the backends are told. ``sign_in`` is where clients are sent that it does
    not know; empty: nowhere.
    """

    group: BackendGroup
    path: str = "/"
    request_headers: tuple[str, ...] | None = None
    response_headers: tuple[str, ...] = ()
    timeout: float = 5.0
    sign_in: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class Redirect:
    """Answer that sends the client elsewhere; what is empty or 0 stays as it was asked."""

    status: int
    scheme: str = ""
    hostname: str = ""
    port: int = 0
    path: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class FixedResponse:
    """Answer that needs no backend."""

    status: int
    content_type: str = "text/plain"
    body: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class Timeouts:
    """In seconds: to connect, between two reads, between two writes."""

    connect: float = 1.0
    read: float = 60.0
    send: float = 60.0


@dataclass(frozen=True, kw_only=True, order=True)
class Retries:
    """When the next endpoint is tried; ``conditions`` are words of ``proxy_next_upstream``.

    ``attempts`` counts the first one; ``timeout`` in seconds, for all of them.
    """

    conditions: tuple[str, ...] = ("error", "timeout")
    attempts: int = 3
    timeout: float = 5.0
    non_idempotent: bool = False


@dataclass(frozen=True, kw_only=True, order=True)
class Headers:
    """Changes of a message's headers: set (name, value), in order of names, and removed."""

    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class Gzip:
    """Compression of answers of these types from ``min_length`` bytes on."""

    types: tuple[str, ...]
    min_length: int
    level: int


@dataclass(frozen=True, kw_only=True, order=True)
class AccessControl:
    """Networks of clients: ``deny`` comes first; with any in ``allow`` all others are denied."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class RequestLimit:
    """Requests per second or minute of those who have the same key."""

    rate: int
    per_minute: bool
    burst: int
    key: HashKey


@dataclass(frozen=True, kw_only=True, order=True)
class Limits:
    """Of each client and each nginx; ``connections`` 0: no limit."""

    requests: RequestLimit | None = None
    connections: int = 0


@dataclass(frozen=True, kw_only=True, order=True)
class Cors:
    """Origins whose pages may read answers; ``max_age`` in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    credentials: bool
    max_age: float


@dataclass(frozen=True, kw_only=True, order=True)
class BasicAuth:
    """Users in a Secret of the mapping's namespace; clients are told of ``realm``."""

    secret: str
    realm: str


@dataclass(frozen=True, kw_only=True, order=True)
class Traffic:
    """How requests and answers are passed on.

    ``max_body_size`` is a size of nginx's, empty for its default; ``idle_timeout`` that of a TCP or
    UDP session in seconds. ``replace_prefix`` takes the place of the path that was matched.
    """

    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    max_body_size: str = ""
    buffer_requests: bool = True
    buffer_responses: bool = True
    gzip: Gzip | None = None
    websocket: bool = True
    request_headers: Headers = Headers()
    response_headers: Headers = Headers()
    replace_prefix: str = ""
    access_control: AccessControl = AccessControl()
    limits: Limits = Limits()
    cors: Cors | None = None
    basic_auth: BasicAuth | None = None
    idle_timeout: float | None = None
    send_proxy_protocol: bool = False


Answer = Redirect | FixedResponse


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the groups that a mapping needs, and the place in its YAML that speaks of it.

    ``spoken`` is the place that says what is spoken with its endpoints.
    """

    place: str
    group: BackendGroup
    spoken: str


@dataclass(frozen=True, kw_only=True)
class ServiceMapping:
    """What comes to one listener goes to Consul services, or is answered by nginx itself.

    On a listener that speaks HTTP: requests for the host names, all of them when there are none,
    with the path that ``match``. ``group`` is None when there is an ``answer``, else it gets the
    requests; others may be needed beside it, and ``parts`` has all. ``http_fields`` and
    ``stream_fields`` are those it uses of what only the one or the other kind of listener knows.
    """

    meta: Meta
    load_balancer: ObjectRef
    listener: str
    hostnames: tuple[str, ...]
    path: Path
    group: BackendGroup | None
    answer: Answer | None
    traffic: Traffic
    match: RequestMatch = ANY_REQUEST
    mirror: Mirror | None = None
    external_auth: ExternalAuth | None = None
    http_fields: tuple[str, ...] = ()
    stream_fields: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The groups that it needs, the one that gets the requests first."""
        found: list[Part] = []
        if self.group is not None:
            found.append(Part(place="spec", group=self.group, spoken="spec"))
        if self.mirror is not None:
            found.append(Part(place="spec.mirror", group=self.mirror.group, spoken="spec"))
        if self.external_auth is not None:
            place = "spec.externalAuth"
            found.append(Part(place=place, group=self.external_auth.group, spoken=place))
        return tuple(found)

    @cached_property
    def groups(self) -> tuple[BackendGroup, ...]:
        """The same without the places."""
        return tuple(part.group for part in self.parts)

    @cached_property
    def queries(self) -> tuple[ServiceQuery, ...]:
        """What Consul is asked for it."""
        return tuple(query for group in self.groups for query in group.queries)

    def with_groups(self, change: Callable[[BackendGroup], BackendGroup]) -> ServiceMapping:
        """A copy with each of its groups changed."""
        group, mirror, auth = self.group, self.mirror, self.external_auth
        return replace(
            self,
            group=group and change(group),
            mirror=mirror and replace(mirror, group=change(mirror.group)),
            external_auth=auth and replace(auth, group=change(auth.group)),
        )
