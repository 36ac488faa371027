"""Copies of requests whose answers nobody gets. Pure.

nginx ends a request, and begins with the next one of its connection, only when all its copies have
been answered. So copies are not sent to their backends from where the requests come in, but to a
server of nginx's own: that answers as soon as it has a copy, and sends it on from there. Who gets
the copies can be as slow as it likes (decision 0025).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consul_nginx.model.nginx import Configuration, HttpListener, Mirroring, Proxy
from consul_nginx.model.remembered import by_identity
from consul_nginx.model.variables import Variable
from consul_nginx.nginx import authorization, tokens
from consul_nginx.nginx.forwarding import Forwarded, passing, request_headers, set_headers
from consul_nginx.nginx.internal import InternalLocation, hashed, internal_location
from consul_nginx.nginx.tokens import Token, directive, quoted

# By this upstream nginx reaches its own server.
MIRRORS = tokens.identifier("u_mirrors")
# Of one mirror, of all workers: what comes while so many are on their way is not copied.
MOST_COPIES = tokens.number(1000, low=1, high=100_000)

_URI_HEADER = "X-Mirrored-Uri"
_URI = tokens.variable("http_x_mirrored_uri")
_CONNECT_S = 1.0
_OFF = tokens.word("off")
# Else an answer could send the copy back to where it came from.
_NO_WAY_BACK = directive("proxy_ignore_headers", tokens.word("X-Accel-Redirect"))


def directives(proxy: Proxy, *, forwarded: Forwarded) -> Iterator[Token]:
    """What the location of a route says."""
    if proxy.mirroring is not None:
        yield directive("mirror", _taking(proxy, proxy.mirroring, forwarded=forwarded).name)


def locations(proxy: Proxy, *, forwarded: Forwarded) -> Iterator[InternalLocation]:
    """What stands beside it in the same server."""
    if proxy.mirroring is not None:
        yield _taking(proxy, proxy.mirroring, forwarded=forwarded)


def _taking(proxy: Proxy, mirroring: Mirroring, *, forwarded: Forwarded) -> InternalLocation:
    """Makes the copy, with all that the backends are told; a connection can't be upgraded twice."""
    content = [_nothing_when(tokens.variable("websocket"))]
    if mirroring.mirror.percent < 100:
        content.append(_nothing_when(_unmirrored(mirroring.mirror.percent)))
    headers = request_headers(
        proxy.traffic,
        forwarded=forwarded,
        module="proxy",
        more={**authorization.headers(proxy), _URI_HEADER: quoted(Variable("request_uri"))},
    )
    place = tokens.joined(Token("http://"), MIRRORS, Token("/"), _place(mirroring))
    content += [directive("proxy_next_upstream", _OFF), *headers, directive("proxy_pass", place)]
    return internal_location("mirror", content)


def _nothing_when(condition: Token) -> Token:
    no_content = tokens.number(204, low=204, high=204)
    return tokens.block(Token(f"if ({condition})"), directive("return", no_content))


def _unmirrored(percent: int) -> Token:
    return tokens.variable(f"unmirrored_{percent}")


def _place(mirroring: Mirroring) -> Token:
    """Where in nginx's own server copies are taken."""
    return hashed("copies", _sending(mirroring).directives)


def _sending(mirroring: Mirroring) -> InternalLocation:
    timeout = mirroring.mirror.timeout
    told = {
        "Host": quoted(Variable("http_host")),
        "Connection": quoted(),
        "Upgrade": quoted(),
        _URI_HEADER: quoted(),
    }
    return internal_location(
        "copy",
        [
            directive("proxy_ignore_client_abort", tokens.word("on")),
            directive("proxy_connect_timeout", tokens.duration(min(timeout, _CONNECT_S))),
            directive("proxy_read_timeout", tokens.duration(timeout)),
            directive("proxy_send_timeout", tokens.duration(timeout)),
            directive("proxy_next_upstream", _OFF),
            _NO_WAY_BACK,
            *set_headers(told, module="proxy"),
            *passing(mirroring.target, uri=[_URI]),
        ],
    )


def in_use(configuration: Configuration) -> list[Mirroring]:
    """Each that is sent on differently, or another share of it, in order of its name."""
    found = {
        (str(_place(copied)), copied.mirror.percent): copied
        for listener in configuration.listeners
        for copied in _of(listener)
    }
    return [found[key] for key in sorted(found)]


@by_identity
def _of(listener: HttpListener) -> tuple[Mirroring, ...]:
    return tuple(
        route.action.mirroring
        for host in listener.hosts
        for route in host.routes
        if isinstance(route.action, Proxy) and route.action.mirroring is not None
    )


def shares(mirrorings: Iterable[Mirroring]) -> Iterator[Token]:
    """Variables that choose which requests are not copied."""
    for percent in sorted({item.mirror.percent for item in mirrorings} - {100}):
        yield tokens.block(
            tokens.spaced(
                Token("split_clients"), tokens.variable("request_id"), _unmirrored(percent)
            ),
            tokens.entry(Token(f"{tokens.number(percent, low=1, high=99)}%"), quoted()),
            tokens.entry(Token("*"), Token("1")),
        )


def server_locations(mirrorings: Iterable[Mirroring]) -> Iterator[InternalLocation]:
    """What nginx's own server has: each takes copies, and one beside it sends them on.

    An empty picture is an answer that comes after the copy of the copy is made, as ``return`` does
    not.
    """
    places = {str(_place(mirroring)): mirroring for mirroring in mirrorings}
    for mirroring in places.values():
        sending = _sending(mirroring)
        taking = (directive("mirror", sending.name), directive("empty_gif"))
        place = tokens.joined(Token("/"), _place(mirroring))
        yield InternalLocation(name=place, directives=taking)
        yield sending
