"""Which pages of other sites may read answers: directives. Pure.

An origin that is not allowed gets no header at all, and its browser keeps the answer from it. The
list of the Fetch standard decides, not the backend: what it says itself is hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from consul_nginx.model.mapping import Cors
from consul_nginx.model.variables import Variable
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive, quoted

_ALWAYS = tokens.word("always")
_ANSWERED = (
    "allow-credentials",
    "allow-headers",
    "allow-methods",
    "allow-origin",
    "expose-headers",
    "max-age",
)


def maps(cors: Cors) -> Iterator[Token]:
    """Variables of the ``http`` level, the same for all who allow the same."""
    origin, allowed = tokens.variable("http_origin"), tokens.variable(_variable("origin", cors))
    yield tokens.block(
        tokens.spaced(Token("map"), origin, allowed),
        directive("default", quoted("*" if "*" in cors.origins else "")),
        *(tokens.entry(_pattern(item), origin) for item in cors.origins if item != "*"),
    )
    for name, text in _when_allowed(cors).items():
        yield tokens.block(
            tokens.spaced(Token("map"), allowed, tokens.variable(_variable(name, cors))),
            directive("default", quoted(text)),
            tokens.entry(quoted(), quoted()),
        )


def directives(cors: Cors, *, module: str) -> Iterator[Token]:
    """What a location says; a browser's question before a request never reaches a backend."""
    for name in _ANSWERED:
        yield directive(f"{module}_hide_header", _header(name))
    for name in ("origin", *_when_allowed(cors)):
        value = quoted(Variable(_variable(name, cors)))
        yield directive("add_header", _header(f"allow-{name}"), value, _ALWAYS)
    if cors.exposed:
        exposed = quoted(", ".join(cors.exposed))
        yield directive("add_header", _header("expose-headers"), exposed, _ALWAYS)
    age = quoted(str(round(cors.max_age)))
    yield directive("add_header", _header("max-age"), age, _ALWAYS)
    yield directive("add_header", tokens.header_name("vary"), quoted("Origin"), _ALWAYS)
    no_content = tokens.number(204, low=204, high=204)
    yield tokens.block(Token("if ($preflight)"), directive("return", no_content))


def _when_allowed(cors: Cors) -> dict[str, str]:
    """What is told to allowed origins only, by the last word of its header."""
    told = {"methods": ", ".join(cors.methods)}
    if cors.headers:
        told["headers"] = ", ".join(cors.headers)
    if cors.credentials:
        told["credentials"] = "true"
    return told


def _header(name: str) -> Token:
    return tokens.header_name(f"access-control-{name}")


def _pattern(origin: str) -> Token:
    """How an origin stands in a map: as it is, or as an expression for all below a name."""
    scheme, _, host = origin.partition("://")
    if not host.startswith("*."):
        return quoted(origin)
    return tokens.origins_below(scheme=scheme, host=host.removeprefix("*."))


def _variable(name: str, cors: Cors) -> str:
    digest = hashlib.sha256(repr(cors).encode()).hexdigest()[:16]
    return f"cors_{name}_{digest}"
