"""Another service is asked whether a request is served. Pure.

nginx serves what is answered 2xx, passes 401 and 403 on to the client, and answers else 500: then
nobody could be asked, and nobody is served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from consul_nginx.model.mapping import ExternalAuth
from consul_nginx.model.nginx import Authorization, Proxy
from consul_nginx.model.variables import Variable
from consul_nginx.nginx import tokens
from consul_nginx.nginx.forwarding import Forwarded, of_the_client, passing, set_headers
from consul_nginx.nginx.internal import InternalLocation, internal_location
from consul_nginx.nginx.tokens import Token, directive, quoted

_CONNECT_S = 1.0
_OFF = tokens.word("off")
# No part of a question: a body, another protocol, and what an answer could be 304 or 416 for.
_NOT_TOLD = (
    "Connection", "Content-Length", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
    "If-Unmodified-Since", "Range", "Upgrade",
)  # fmt: skip

# What nginx's users and Traefik's call them; a service may believe either, so no client writes one.
_METHODS = ("X-Forwarded-Method", "X-Original-Method")
_URIS = ("X-Forwarded-Uri", "X-Original-URI")


def directives(proxy: Proxy, *, forwarded: Forwarded) -> Iterator[Token]:
    """What the location of a route says."""
    if (authorization := proxy.authorization) is None:
        return
    yield directive("auth_request", _asking(authorization, forwarded=forwarded).name)
    for name in authorization.auth.response_headers:
        answered = quoted(Variable(f"upstream_http_{_in_variables(name)}"))
        yield directive("auth_request_set", tokens.variable(_variable(name)), answered)
    if authorization.auth.sign_in:
        unknown, found = (tokens.number(status, low=300, high=499) for status in (401, 302))
        place = _sign_in(authorization.auth, forwarded=forwarded)
        yield directive("error_page", unknown, tokens.joined(Token("="), found), place)


def locations(proxy: Proxy, *, forwarded: Forwarded) -> Iterator[InternalLocation]:
    """What stands beside it in the same server."""
    if proxy.authorization is not None:
        yield _asking(proxy.authorization, forwarded=forwarded)


def headers(proxy: Proxy) -> dict[str, Token]:
    """What backends are told of its answer; no word of a client's gets there in its place."""
    if proxy.authorization is None:
        return {}
    names = proxy.authorization.auth.response_headers
    return {name: quoted(Variable(_variable(name))) for name in names}


def _asking(authorization: Authorization, *, forwarded: Forwarded) -> InternalLocation:
    auth = authorization.auth
    content = [directive("proxy_pass_request_body", _OFF)]
    if auth.request_headers is not None:
        content.append(directive("proxy_pass_request_headers", _OFF))
    content += [
        directive("proxy_connect_timeout", tokens.duration(min(auth.timeout, _CONNECT_S))),
        directive("proxy_read_timeout", tokens.duration(auth.timeout)),
        directive("proxy_send_timeout", tokens.duration(auth.timeout)),
        directive("proxy_next_upstream_timeout", tokens.duration(auth.timeout)),
        # Else an answer could have another location answer for it.
        directive("proxy_ignore_headers", tokens.word("X-Accel-Redirect")),
        *set_headers(_told(auth, forwarded=forwarded), module="proxy"),
        *passing(authorization.target, uri=[tokens.path(auth.path)]),
    ]
    return internal_location("auth", content)


def _told(auth: ExternalAuth, *, forwarded: Forwarded) -> dict[str, Token]:
    """All that it is told, or what is told otherwise than the client said it."""
    always = {
        **of_the_client(forwarded),
        **dict.fromkeys(_NOT_TOLD, quoted()),
        **dict.fromkeys(_METHODS, quoted(Variable("request_method"))),
        **dict.fromkeys(_URIS, quoted(Variable("request_uri"))),
        "X-Original-URL": quoted(*_asked_for(forwarded)),
    }
    known = {name.lower() for name in always}
    wanted = {
        name: quoted(Variable(f"http_{_in_variables(name)}"))
        for name in auth.request_headers or ()
        if name.lower() not in known
    }
    return {**wanted, **always}


def _sign_in(auth: ExternalAuth, *, forwarded: Forwarded) -> Token:
    return quoted(auth.sign_in, "?rd=", *_asked_for(forwarded))


def _asked_for(forwarded: Forwarded) -> tuple[str | Variable, ...]:
    return Variable(forwarded.scheme), "://", Variable("http_host"), Variable("request_uri")


def _in_variables(name: str) -> str:
    """nginx makes variables of headers, in lower case with _ for every dash."""
    return name.lower().replace("-", "_")


def _variable(name: str) -> str:
    return f"auth_{hashlib.sha256(name.lower().encode()).hexdigest()[:16]}"
