"""What becomes of the requests of one location, as directives. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from consul_nginx.model.mapping import (
    FixedResponse,
    Gzip,
    Headers,
    Path,
    PathType,
    Redirect,
    Retries,
    Timeouts,
)
from consul_nginx.model.nginx import Proxy, Reply, Route
from consul_nginx.model.variables import Variable, parts
from consul_nginx.nginx import authorization, cors, limits, mirroring, tokens
from consul_nginx.nginx.choice import Choices
from consul_nginx.nginx.forwarding import Forwarded, passing, request_headers
from consul_nginx.nginx.internal import InternalLocation
from consul_nginx.nginx.tokens import Token, directive, quoted
from consul_nginx.nginx.users import asking

_ON, _OFF = tokens.word("on"), tokens.word("off")
_DEFAULT_BODY_SIZE = "1m"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_REST = "below_prefix"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def comparison(path: Path) -> Token:
    """How a path is written after ``location``."""
    match path.type:
        case PathType.EXACT:
            return tokens.spaced(Token("="), tokens.path(path.value))
        case PathType.REGULAR_EXPRESSION:
            return tokens.spaced(Token("~"), tokens.expression(path.value))
        case PathType.PREFIX:
            return tokens.path(path.value if path.value == "/" else f"{path.value}/")


def directives(*, route: Route, forwarded: Forwarded, bare: bool) -> list[Token]:
    """All of a location; ``bare``: of a prefix without the slash that follows it."""
    action = route.action
    if isinstance(action, Reply):
        return _answered(action, forwarded=forwarded)
    uri = _uri(action.traffic.replace_prefix, bare=bare)
    return [*_passed_on(action, forwarded=forwarded), *passing(action.target, uri=uri)]


def chosen_directives(*, route: Route, forwarded: Forwarded, choices: Choices) -> list[Token]:
    """All of a location that requests are handed to, of whatever path that the route takes."""
    action = route.action
    if isinstance(action, Reply):
        return _answered(action, forwarded=forwarded)
    return [
        *_bounded(action.traffic.max_body_size, choices=choices),
        *_passed_on(action, forwarded=forwarded),
        *_rewritten(action.traffic.replace_prefix, prefix=route.path.value),
        *passing(action.target, uri=[]),
    ]


def _answered(action: Reply, *, forwarded: Forwarded) -> list[Token]:
    return [*_response_headers(action.headers), *_reply(action, forwarded=forwarded)]


def _passed_on(action: Proxy, *, forwarded: Forwarded) -> list[Token]:
    clients = limits.directives(
        access_control=action.traffic.access_control,
        limits=action.traffic.limits,
        limited=action.limited,
        http=True,
    )
    return [
        *clients,
        *authorization.directives(action, forwarded=forwarded),
        *mirroring.directives(action, forwarded=forwarded),
        *_traffic(action, forwarded=forwarded),
        *asking(action.traffic.basic_auth),
    ]


def _bounded(size: str, *, choices: Choices) -> Iterator[Token]:
    """What ``client_max_body_size`` says where nginx finds a location by the path."""
    written = str(tokens.size(size or _DEFAULT_BODY_SIZE))
    digits = written.rstrip("kmg")
    if bound := int(digits) * _UNITS[written.removeprefix(digits)]:
        longer = tokens.variable(choices.longer_than(bound).name)
        too_large = directive("return", tokens.number(413, low=413, high=413))
        yield tokens.block(tokens.condition(longer), too_large)


def _rewritten(replacement: str, *, prefix: str) -> Iterator[Token]:
    """The same as ``_uri``, which nginx does not know here; it has to be the last that rewrites."""
    if not replacement:
        return
    last, length = tokens.word("break"), len(prefix.rstrip("/"))
    [bare], [below] = _uri(replacement, bare=True), _uri(replacement, bare=False)
    yield directive("rewrite", tokens.of_length(length), bare, last)
    rest = tokens.joined(below, tokens.variable(_REST))
    yield directive("rewrite", tokens.all_after(length + 1, into=_REST), rest, last)


def internal_locations(*, route: Route, forwarded: Forwarded) -> list[InternalLocation]:
    """What the location of a route needs beside it, in the same server."""
    action = route.action
    if isinstance(action, Reply):
        return []
    return [
        *authorization.locations(action, forwarded=forwarded),
        *mirroring.locations(action, forwarded=forwarded),
    ]


def _uri(replacement: str, *, bare: bool) -> list[Token]:
    """What backends see instead of the part of the path that the location names."""
    if not replacement:
        return []
    kept = replacement.rstrip("/")
    return [tokens.path(kept or "/") if bare else tokens.path(f"{kept}/")]


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
    told = authorization.headers(action)
    yield from request_headers(traffic, forwarded=forwarded, module=module, more=told)
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
