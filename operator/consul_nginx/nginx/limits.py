"""Who may ask, and how much: directives, and the zones that they count in. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from consul_nginx.model.mapping import AccessControl, Limits, RequestLimit
from consul_nginx.nginx import tokens
from consul_nginx.nginx.balancing import key
from consul_nginx.nginx.tokens import Token, directive, quoted

# Room for about 16,000 clients; when it is full, nginx forgets who was quiet for longest.
_ZONE_SIZE = "1m"
_CLIENT = tokens.variable("binary_remote_addr")
_TOO_MANY = tokens.number(429, low=400, high=599)


def zones(limits: Limits, *, limited: str) -> Iterator[Token]:
    """Where requests and connections are counted, for the ``http`` or ``stream`` level."""
    if limits.requests is not None:
        rate = tokens.number(limits.requests.rate, low=1, high=100_000)
        unit = Token("r/m" if limits.requests.per_minute else "r/s")
        yield directive(
            "limit_req_zone",
            quoted(key(limits.requests.key)),
            _zone(_request_zone(limits.requests, limited=limited)),
            tokens.joined(Token("rate="), rate, unit),
        )
    if limits.connections:
        yield directive("limit_conn_zone", _CLIENT, _zone(_connection_zone(limited)))


def directives(
    *, access_control: AccessControl, limits: Limits, limited: str, http: bool
) -> Iterator[Token]:
    """What a location, or a server of the stream module, says of its clients."""
    for network in access_control.deny:
        yield directive("deny", tokens.network(network))
    for network in access_control.allow:
        yield directive("allow", tokens.network(network))
    if access_control.allow:
        yield directive("deny", tokens.word("all"))
    if (requests := limits.requests) is not None:
        zone = tokens.joined(Token("zone="), _request_zone(requests, limited=limited))
        burst = tokens.joined(Token("burst="), tokens.number(requests.burst, low=0, high=100_000))
        early = [burst, tokens.word("nodelay")] if requests.burst else []
        yield directive("limit_req", zone, *early)
        yield directive("limit_req_status", _TOO_MANY)
    if limits.connections:
        most = tokens.number(limits.connections, low=1, high=65_535)
        yield directive("limit_conn", _connection_zone(limited), most)
        if http:
            yield directive("limit_conn_status", _TOO_MANY)


def _zone(name: Token) -> Token:
    return tokens.joined(Token("zone="), name, Token(":"), tokens.size(_ZONE_SIZE))


def _request_zone(limit: RequestLimit, *, limited: str) -> Token:
    """Its name has all of it: nginx fails at a reload that changes the key of a zone."""
    content = f"{limited} {limit.key} {limit.rate} {limit.per_minute} {_ZONE_SIZE}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return tokens.identifier(f"requests_{digest}")


def _connection_zone(limited: str) -> Token:
    return tokens.identifier(f"connections_{limited}_{_ZONE_SIZE}")
