"""The files of listeners. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consul_nginx.model.kubernetes import IpFamily
from consul_nginx.model.listener import AccessLog, ClientAddress, LogFormat
from consul_nginx.model.mapping import PathType, Redirect, Retries, Timeouts, Traffic
from consul_nginx.model.nginx import (
    Configuration,
    HttpListener,
    Location,
    Proxy,
    StreamListener,
    StreamServer,
    VirtualHost,
)
from consul_nginx.model.remembered import by_identity
from consul_nginx.model.variables import parts
from consul_nginx.nginx import cors, limits, tokens
from consul_nginx.nginx.certificates import REFUSAL, encryption, showing
from consul_nginx.nginx.choice import (
    NOBODY,
    UNDECIDED,
    Choices,
    handing_on,
    may_give_up,
    route_location,
    routes_chosen,
)
from consul_nginx.nginx.environment import template
from consul_nginx.nginx.forwarding import Forwarded, upstream_name
from consul_nginx.nginx.locations import (
    chosen_directives,
    comparison,
    directives,
    internal_locations,
    location,
)
from consul_nginx.nginx.tokens import Token, directive, quoted

_STDOUT = Token("/dev/stdout")
# Written always: of a template that begins so itself nginx would take it, or refuse the listener.
_ESCAPED = Token("escape=default")
_UDP_IDLE_S = 60.0
_NO_NAME = directive("server_name", Token("_"))
_NO_HOST, _NO_PATH = "no mapping for this host\n", "no mapping for this path\n"


def http(listener: HttpListener, *, configuration: Configuration) -> str:
    """A listener that speaks HTTP; there always is a server for hosts that nobody names."""
    families, known = configuration.ip_families, _known(listener)
    if families not in known:
        known[families] = _http(listener, families=families)
    return known[families]


@by_identity
def _known(_: HttpListener) -> dict[tuple[IpFamily, ...], str]:
    """A listener's file, by what else it depends on."""
    return {}


def _http(listener: HttpListener, *, families: tuple[IpFamily, ...]) -> str:
    client, forwarded = listener.client_address, _forwarded(listener)
    common = [
        *([directive("http2", tokens.word("on"))] if listener.http2 else []),
        *encryption(listener.tls, identity=listener.id),
        *_access_log(listener.access_log, identity=listener.id),
        *_trusted(client),
        *_client_header(client),
    ]
    addresses = _addresses(listener.port, families)
    flags = [tokens.word("ssl")] if listener.tls is not None else []
    if client and client.by_proxy_protocol:
        flags.append(tokens.word("proxy_protocol"))
    first, others = [tokens.word("default_server"), *flags], flags
    choices = Choices(listener)
    servers = [
        _server(
            host,
            listen=_listen(addresses, first if host.hostname is None else others),
            common=common,
            forwarded=forwarded,
            choices=choices,
        )
        for host in listener.hosts
    ]
    if all(host.hostname is not None for host in listener.hosts):
        shown = listener.tls.certificate if listener.tls is not None else None
        nobodys = [*_listen(addresses, first), *common, *showing(shown), _NO_NAME]
        reply = _to_https(listener, forwarded=forwarded) or _not_found(_NO_HOST)
        servers.insert(0, {"directives": [*nobodys, *reply], "locations": []})
    return template("listener-http.conf.j2").render(
        id=tokens.identifier(listener.id),
        log_format=_log_format(listener.access_log, identity=listener.id),
        trusted=[]
        if client is None or forwarded.is_default
        else [tokens.network(item) for item in client.trusted],
        zones=_zones(listener),
        choices=choices.maps,
        servers=servers,
    )


def stream(listener: StreamListener, *, configuration: Configuration) -> str:
    """A TLS, TCP or UDP listener; what asks for a name that no mapping has is sent away."""
    common = [
        *_access_log(listener.access_log, identity=listener.id),
        *_trusted(listener.client_address),
        *encryption(listener.tls, identity=listener.id),
        *([directive("ssl_preread", tokens.word("on"))] if listener.reads_sni else []),
    ]
    by_name = listener.tls is not None or listener.reads_sni
    addresses = _addresses(listener.port, configuration.ip_families)
    flags = _stream_flags(listener)
    first = [tokens.word("default_server"), *flags] if by_name else flags
    servers = [
        [
            *_listen(addresses, first if server.hostname is None else flags),
            *common,
            *_stream_server(server, udp=listener.udp),
        ]
        for server in listener.servers
    ]
    if by_name and all(server.hostname is not None for server in listener.servers):
        refusal = [REFUSAL] if listener.tls is not None else []
        nobodys = [*_listen(addresses, first), *common, *refusal]
        servers.insert(0, [*nobodys, directive("return", quoted(""))])
    return template("listener-stream.conf.j2").render(
        log_format=_log_format(listener.access_log, identity=listener.id),
        udp=listener.udp,
        zones=_stream_zones(listener),
        servers=servers,
    )


def _stream_flags(listener: StreamListener) -> list[Token]:
    known = {
        "ssl": listener.tls is not None,
        "udp": listener.udp,
        "reuseport": listener.udp,
        "proxy_protocol": listener.client_address is not None,
    }
    return [tokens.word(flag) for flag, is_set in known.items() if is_set]


def _stream_server(server: StreamServer, *, udp: bool) -> Iterator[Token]:
    yield from showing(server.certificate)
    if server.hostname is not None:
        yield directive("server_name", tokens.server_name(server.hostname))
    yield from limits.directives(
        access_control=server.traffic.access_control,
        limits=server.traffic.limits,
        limited=server.limited,
        http=False,
    )
    yield from _session(server.traffic, udp=udp)
    yield directive("proxy_pass", upstream_name(server.upstream))


def _stream_zones(listener: StreamListener) -> list[Token]:
    """Of all mappings, each once."""
    servers = {server.limited: server for server in listener.servers}
    return [
        zone
        for limited, server in sorted(servers.items())
        for zone in limits.zones(server.traffic.limits, limited=limited)
    ]


def _zones(listener: HttpListener) -> list[Token]:
    """Of all mappings, each once: one mapping can have several hosts."""
    proxies = {
        route.action.limited: route.action
        for host in listener.hosts
        for route in host.routes
        if isinstance(route.action, Proxy)
    }
    return [
        zone
        for limited, proxy in sorted(proxies.items())
        for zone in limits.zones(proxy.traffic.limits, limited=limited)
    ]


@by_identity
def asks_variables(listener: HttpListener) -> bool:
    """Whether some of its requests are told apart by more than host and path."""
    return any(item.candidates for host in listener.hosts for item in host.locations)


def cors_maps(configuration: Configuration) -> list[Token]:
    """Variables that tell of allowed origins: listeners share them."""
    found = {
        route.action.traffic.cors
        for listener in configuration.listeners
        for host in listener.hosts
        for route in host.routes
        if isinstance(route.action, Proxy) and route.action.traffic.cors is not None
    }
    return [line for item in sorted(found) for line in cors.maps(item)]


def _forwarded(listener: HttpListener) -> Forwarded:
    """Behind a proxy that sends headers, its word counts for the scheme and the way so far."""
    client = listener.client_address
    if client is None or client.by_proxy_protocol:
        return Forwarded()
    return Forwarded(scheme=f"scheme_{listener.id}", chain="forwarded_for")


def _addresses(port: int, families: tuple[IpFamily, ...]) -> list[Token]:
    number = tokens.port(port)
    forms = {IpFamily.V4: number, IpFamily.V6: tokens.joined(Token("[::]:"), number)}
    return [forms[family] for family in families]


def _log_name(identity: str) -> Token:
    return tokens.identifier(f"log_{identity}")


def _log_format(log: AccessLog, *, identity: str) -> Token | None:
    if log.format is not LogFormat.OWN:
        return None
    return directive("log_format", _log_name(identity), _ESCAPED, quoted(*parts(log.template)))


def _access_log(log: AccessLog, *, identity: str) -> Iterator[Token]:
    match log.format:
        case LogFormat.JSON:
            return
        case LogFormat.COMBINED:
            yield directive("access_log", _STDOUT, tokens.word("combined"))
        case LogFormat.OWN:
            yield directive("access_log", _STDOUT, _log_name(identity))
        case LogFormat.NONE:
            yield directive("access_log", tokens.word("off"))


def _trusted(client: ClientAddress | None) -> Iterator[Token]:
    for network in client.trusted if client is not None else ():
        yield directive("set_real_ip_from", tokens.network(network))


def _client_header(client: ClientAddress | None) -> Iterator[Token]:
    if client is None:
        return
    if client.header is None:
        yield directive("real_ip_header", tokens.word("proxy_protocol"))
    else:
        yield directive("real_ip_header", tokens.header_name(client.header))
        yield directive("real_ip_recursive", tokens.word("on"))


def _session(traffic: Traffic, *, udp: bool) -> Iterator[Token]:
    known, retries = Timeouts(), Retries()
    if traffic.timeouts.connect != known.connect:
        yield directive("proxy_connect_timeout", tokens.duration(traffic.timeouts.connect))
    idle = traffic.idle_timeout
    if idle is None and udp:
        idle = _UDP_IDLE_S
    if idle is not None:
        yield directive("proxy_timeout", tokens.duration(idle))
    if traffic.retries.attempts != retries.attempts:
        attempts = tokens.number(traffic.retries.attempts, low=1, high=10)
        yield directive("proxy_next_upstream_tries", attempts)
    if traffic.retries.timeout != retries.timeout:
        yield directive("proxy_next_upstream_timeout", tokens.duration(traffic.retries.timeout))
    if traffic.send_proxy_protocol:
        yield directive("proxy_protocol", tokens.word("on"))


def _listen(addresses: list[Token], options: list[Token]) -> list[Token]:
    return [directive("listen", address, *options) for address in addresses]


def _server(
    host: VirtualHost,
    *,
    listen: list[Token],
    common: list[Token],
    forwarded: Forwarded,
    choices: Choices,
) -> dict[str, Any]:
    name = (
        _NO_NAME
        if host.hostname is None
        else directive("server_name", tokens.server_name(host.hostname))
    )
    found = [
        {
            "match": comparison(item.path),
            "directives": _location(item, forwarded=forwarded, choices=choices),
        }
        for item in host.locations
    ]
    if not any(
        item.path.value == "/" and item.path.type is PathType.PREFIX for item in host.locations
    ):
        found.append({"match": tokens.path("/"), "directives": _not_found(_NO_PATH)})
    chosen = _chosen(host, forwarded=forwarded, choices=choices)
    return {
        "directives": [*listen, *common, *showing(host.certificate), name],
        "locations": [*found, *chosen, *_internal(host, forwarded=forwarded)],
    }


def _location(item: Location, *, forwarded: Forwarded, choices: Choices) -> list[Token]:
    if item.route is None:
        return handing_on(choices.first_of(item.candidates))
    bare = item.path.type is PathType.EXACT
    return directives(route=item.route, forwarded=forwarded, bare=bare)


def _chosen(
    host: VirtualHost, *, forwarded: Forwarded, choices: Choices
) -> Iterator[dict[str, Any]]:
    """Locations that have no path of their own: others hand requests to them."""
    for route in routes_chosen(host.locations):
        lines = chosen_directives(route=route, forwarded=forwarded, choices=choices)
        yield {"match": route_location(route), "directives": lines}
    if any(item.candidates and not item.candidates[-1].takes_all for item in host.locations):
        yield {"match": NOBODY, "directives": _not_found(_NO_PATH)}
    if any(may_give_up(candidate) for item in host.locations for candidate in item.candidates):
        failure = directive("return", tokens.number(500, low=500, high=500))
        yield {"match": UNDECIDED, "directives": [failure]}


def _internal(host: VirtualHost, *, forwarded: Forwarded) -> Iterator[dict[str, Any]]:
    """Locations that only nginx itself goes to, each once."""
    found = {
        str(item.name): item
        for route in host.routes
        for item in internal_locations(route=route, forwarded=forwarded)
    }
    for _, item in sorted(found.items()):
        yield {"match": tokens.spaced(Token("="), item.name), "directives": item.directives}


def _to_https(listener: HttpListener, *, forwarded: Forwarded) -> list[Token]:
    if (redirect := listener.https_redirect) is None:
        return []
    status = tokens.number(redirect.status, low=300, high=399)
    target = Redirect(status=redirect.status, scheme="https", port=redirect.port)
    return [directive("return", status, location(target, forwarded=forwarded))]


def _not_found(text: str) -> list[Token]:
    status = tokens.number(404, low=404, high=404)
    return [
        directive("default_type", tokens.word("text/plain")),
        directive("return", status, quoted(text)),
    ]
