"""How a request is passed on: to which upstream, and with which headers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consul_nginx.model.mapping import Headers, Traffic
from consul_nginx.model.nginx import Target
from consul_nginx.model.variables import Variable, parts
from consul_nginx.nginx import tokens
from consul_nginx.nginx.authorities import verification
from consul_nginx.nginx.tokens import Token, directive, quoted

_ON = tokens.word("on")
_NO_HEADERS: Mapping[str, Token] = MappingProxyType({})


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


def of_the_client(forwarded: Forwarded) -> dict[str, Token]:
    """Headers by which whoever is asked learns of the client; no client can write them."""
    return {
        "Host": quoted(Variable("http_host")),
        "X-Real-IP": quoted(Variable("remote_addr")),
        "X-Forwarded-For": quoted(Variable(forwarded.chain)),
        "X-Forwarded-Host": quoted(Variable("http_host")),
        "X-Forwarded-Proto": quoted(Variable(forwarded.scheme)),
    }


def request_headers(
    traffic: Traffic, *, forwarded: Forwarded, module: str, more: Mapping[str, Token] = _NO_HEADERS
) -> Iterator[Token]:
    """All of them or none: what a location says takes the place of all that is said above it.

    ``more`` are headers that nobody but nginx itself writes.
    """
    changes = traffic.request_headers
    if (
        module == "proxy"
        and traffic.websocket
        and forwarded.is_default
        and changes == Headers()
        and not more
    ):
        return
    headers = of_the_client(forwarded)
    if module == "proxy":
        upgrade = [Variable("websocket")] if traffic.websocket else []
        connection = [Variable("connection_upgrade")] if traffic.websocket else []
        headers |= {"Upgrade": quoted(*upgrade), "Connection": quoted(*connection)}
    changed = {name: quoted(*parts(value)) for name, value in changes.set}
    removed = dict.fromkeys(changes.remove, quoted())
    spelled = {name.lower(): name for name in headers}
    for name, text in (*changed.items(), *removed.items(), *more.items()):
        # nginx would send both of two that differ in case.
        headers[spelled.setdefault(name.lower(), name)] = text
    yield from set_headers(headers, module=module)


def set_headers(headers: Mapping[str, Token], *, module: str) -> Iterator[Token]:
    """What is told as it is said here, whatever the client says; an empty one is not told."""
    for name, text in sorted(headers.items()):
        yield directive(f"{module}_set_header", tokens.header_name(name), text)
