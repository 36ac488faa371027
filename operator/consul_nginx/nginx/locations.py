"""What becomes of the requests of one location, as directives. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from consul_nginx.model.mapping import (
    FixedResponse,
    Gzip,
    Headers,
    PathType,
    Redirect,
    Retries,
    Timeouts,
    Traffic,
)
from consul_nginx.model.nginx import Proxy, Reply, Route, Target
from consul_nginx.model.variables import Variable, parts
from consul_nginx.nginx import cors, limits, tokens
from consul_nginx.nginx.authorities import verification
from consul_nginx.nginx.tokens import Token, directive, quoted

_ON, _OFF = tokens.word("on"), tokens.word("off")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """Variables with what backends are told of the client.

    They differ when a proxy in front is believed; ``is_default`` when none is.
    """

    scheme: str = "scheme"
    chain: str = "proxy_add_x_forwarded_for"

    @property
    def is_default(self) -> bool:
        """Whether ``nginx.conf`` says the same already."""
        return self == Forwarded()


def upstream_name(identity: str) -> Token:
    """Name of an upstream."""
    return tokens.identifier(f"u_{identity}")


def matches(route: Route) -> list[Token]:
    """How a route's path is written after ``location``; exact paths are not among them."""
    path = route.path
    match path.type:
        case PathType.EXACT:
            return []
        case PathType.REGULAR_EXPRESSION:
            return [tokens.spaced(Token("~"), tokens.expression(path.value))]
        case PathType.PREFIX:
            return [tokens.path(path.value if path.value == "/" else f"{path.value}/")]


def directives(*, route: Route, forwarded: Forwarded, bare: bool) -> list[Token]:
    """All of a location; ``bare``: of a prefix without the slash that follows it."""
    action = route.action
    if isinstance(action, Reply):
        return [*_response_headers(action.headers), *_reply(action, forwarded=forwarded)]
    uri = _uri(action.traffic.replace_prefix, bare=bare)
    clients = limits.directives(
        access_control=action.traffic.access_control,
        limits=action.traffic.limits,
        limited=action.limited,
        http=True,
    )
    return [
        *clients,
        *_traffic(action, forwarded=forwarded),
        *passing(action.target, uri=uri),
    ]


def _uri(replacement: str, *, bare: bool) -> list[Token]:
    """What backends see instead of the part of the path that the location names."""
    if not replacement:
        return []
    kept = replacement.rstrip("/")
    return [tokens.path(kept or "/") if bare else tokens.path(f"{kept}/")]


def passing(target: Target, *, uri: list[Token]) -> Iterator[Token]:
    """The directive that passes requests on, with what makes sure of an encrypted backend."""
    protocol, name = target.protocol, upstream_name(target.upstream)
    module = "grpc" if protocol.is_grpc else "proxy"
    scheme = Token("grpc" if protocol.is_grpc else "http")
    if protocol.is_tls:
        scheme = tokens.joined(scheme, Token("s"))
        yield directive(f"{module}_ssl_server_name", _ON)
        named = target.tls is not None and target.tls.server_name
        name_asked = tokens.hostname(named) if named else tokens.variable("host")
        yield directive(f"{module}_ssl_name", name_asked)
        yield from verification(target.tls, module=module)
    yield directive(f"{module}_pass", tokens.joined(scheme, Token("://"), name, *uri))


def _traffic(action: Proxy, *, forwarded: Forwarded) -> Iterator[Token]:
    """Directives for what is not as ``nginx.conf`` has it, which speaks for HTTP backends only."""
    traffic, grpc = action.traffic, action.target.protocol.is_grpc
    module = "grpc" if grpc else "proxy"
    yield from _timeouts(traffic.timeouts, module=module)
    yield from _retries(traffic.retries, module=module)
    if traffic.max_body_size:
        yield directive("client_max_body_size", tokens.size(traffic.max_body_size))
    if not grpc and not traffic.buffer_requests:
        yield directive("proxy_request_buffering", _OFF)
    if not grpc and not traffic.buffer_responses:
        yield directive("proxy_buffering", _OFF)
    if traffic.gzip is not None:
        yield from _gzip(traffic.gzip)
    yield from _request_headers(traffic, forwarded=forwarded, module=module)
    for name in sorted({*traffic.response_headers.remove, *_names(traffic.response_headers)}):
        yield directive(f"{module}_hide_header", tokens.header_name(name))
    yield from _response_headers(traffic.response_headers)
    if traffic.cors is not None:
        yield from cors.directives(traffic.cors, module=module)


def _timeouts(timeouts: Timeouts, *, module: str) -> Iterator[Token]:
    known = Timeouts()
    for name, value, default in (
        ("connect", timeouts.connect, known.connect),
        ("read", timeouts.read, known.read),
        ("send", timeouts.send, known.send),
    ):
        if module != "proxy" or value != default:
            yield directive(f"{module}_{name}_timeout", tokens.duration(value))


def _retries(retries: Retries, *, module: str) -> Iterator[Token]:
    known = Retries()
    if module != "proxy" or (retries.conditions, retries.non_idempotent) != (
        known.conditions,
        False,
    ):
        conditions = [*retries.conditions, *(["non_idempotent"] if retries.non_idempotent else [])]
        words = [tokens.word(item) for item in conditions] if retries.conditions else [_OFF]
        yield directive(f"{module}_next_upstream", *words)
    if module != "proxy" or retries.attempts != known.attempts:
        attempts = tokens.number(retries.attempts, low=1, high=10)
        yield directive(f"{module}_next_upstream_tries", attempts)
    if module != "proxy" or retries.timeout != known.timeout:
        yield directive(f"{module}_next_upstream_timeout", tokens.duration(retries.timeout))


def _gzip(gzip: Gzip) -> Iterator[Token]:
    yield directive("gzip", _ON)
    yield directive("gzip_types", *(tokens.word(item) for item in gzip.types))
    yield directive("gzip_min_length", tokens.number(gzip.min_length, low=0, high=1_000_000))
    yield directive("gzip_comp_level", tokens.number(gzip.level, low=1, high=9))
    yield directive("gzip_proxied", tokens.word("any"))
    yield directive("gzip_vary", _ON)


def _request_headers(traffic: Traffic, *, forwarded: Forwarded, module: str) -> Iterator[Token]:
    """All of them or none: what a location says takes the place of all that is said above it."""
    changes = traffic.request_headers
    if module == "proxy" and traffic.websocket and forwarded.is_default and changes == Headers():
        return
    headers = {
        "Host": quoted(Variable("http_host")),
        "X-Real-IP": quoted(Variable("remote_addr")),
        "X-Forwarded-For": quoted(Variable(forwarded.chain)),
        "X-Forwarded-Host": quoted(Variable("http_host")),
        "X-Forwarded-Proto": quoted(Variable(forwarded.scheme)),
    }
    if module == "proxy":
        upgrade = [Variable("websocket")] if traffic.websocket else []
        connection = [Variable("connection_upgrade")] if traffic.websocket else []
        headers |= {"Upgrade": quoted(*upgrade), "Connection": quoted(*connection)}
    spelled = {name.lower(): name for name in headers}
    for name, value in changes.set:
        headers[spelled.get(name.lower(), name)] = quoted(*parts(value))
    for name in changes.remove:
        headers[spelled.get(name.lower(), name)] = quoted()
    for name, text in sorted(headers.items()):
        yield directive(f"{module}_set_header", tokens.header_name(name), text)


def _names(headers: Headers) -> list[str]:
    return [name for name, _ in headers.set]


def _response_headers(headers: Headers) -> Iterator[Token]:
    for name, value in headers.set:
        text = quoted(*parts(value))
        yield directive("add_header", tokens.header_name(name), text, tokens.word("always"))


def _reply(reply: Reply, *, forwarded: Forwarded) -> Iterator[Token]:
    answer = reply.answer
    status = tokens.number(answer.status, low=200, high=599)
    if isinstance(answer, FixedResponse):
        yield directive("default_type", quoted(answer.content_type))
        yield directive("return", status, quoted(answer.body))
    else:
        yield directive("return", status, location(answer, forwarded=forwarded))


def location(redirect: Redirect, *, forwarded: Forwarded) -> Token:
    """Where a redirect sends the client; the port that it used is kept with its host and scheme."""
    scheme: str | Variable = redirect.scheme or Variable(forwarded.scheme)
    host: str | Variable = redirect.hostname or Variable("host")
    port = ""
    if redirect.port and redirect.port != _DEFAULT_PORTS.get(redirect.scheme):
        port = f":{redirect.port}"
    elif not redirect.port and not redirect.scheme and not redirect.hostname:
        host = Variable("http_host")
    path: str | Variable = redirect.path or Variable("request_uri")
    return quoted(scheme, "://", host, port, path)
