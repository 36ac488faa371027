"""How an upstream spreads what comes, as directives. Pure."""

from __future__ import annotations

from consul_nginx.model.mapping import Algorithm, HashKey, HashKeyType, Health, Keepalive
from consul_nginx.model.nginx import Layer, Upstream
from consul_nginx.model.variables import Variable
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive, quoted

_CLIENT = Variable("remote_addr")
_VARIABLES = {HashKeyType.CLIENT_IP: "remote_addr", HashKeyType.URI: "request_uri"}
_PREFIXES = {
    HashKeyType.HEADER: "http_",
    HashKeyType.COOKIE: "cookie_",
    HashKeyType.QUERY_PARAMETER: "arg_",
}


def method(upstream: Upstream) -> list[Token]:
    """The directive that names the algorithm; none is round robin."""
    match upstream.balancing.algorithm:
        case Algorithm.ROUND_ROBIN:
            return []
        case Algorithm.LEAST_CONNECTIONS:
            return [directive("least_conn")]
        case Algorithm.RANDOM_TWO:
            return [directive("random", tokens.word("two"), tokens.word("least_conn"))]
        case Algorithm.IP_HASH:
            # nginx's ip_hash is for HTTP only.
            if upstream.layer is Layer.STREAM:
                return [directive("hash", quoted(_CLIENT))]
            return [directive("ip_hash")]
        case Algorithm.CONSISTENT_HASH:
            chosen = quoted(key(upstream.balancing.hash_key))
            return [directive("hash", chosen, tokens.word("consistent"))]


def keepalive(upstream: Upstream) -> list[Token]:
    """Idle connections that are kept; they come after the method, as nginx wants it.

    0 has to be said: since 1.29.7 nginx keeps 32 by default.
    """
    kept, known = upstream.balancing.keepalive, Keepalive()
    if upstream.layer is Layer.STREAM:
        return []
    # By default hosts share connections, and one that was verified for a host's name would serve
    # another: the certificate is looked at when a connection is made, and never again.
    local = [tokens.word("local")] if upstream.encrypted and kept.connections else []
    most = tokens.number(kept.connections, low=0, high=10_000)
    found = [directive("keepalive", most, *local)]
    if kept.requests != known.requests:
        requests = tokens.number(kept.requests, low=1, high=1_000_000)
        found.append(directive("keepalive_requests", requests))
    if kept.timeout != known.timeout:
        found.append(directive("keepalive_timeout", tokens.duration(kept.timeout)))
    return found


def limits(upstream: Upstream) -> Token:
    """What every server of it is given."""
    health, known = upstream.health, Health()
    words = [f"max_fails={tokens.number(health.max_fails, low=0, high=100)}"]
    if health.max_fails and health.fail_timeout != known.fail_timeout:
        words.append(f"fail_timeout={tokens.duration(health.fail_timeout)}")
    if upstream.balancing.max_connections:
        most = tokens.number(upstream.balancing.max_connections, low=1, high=1_000_000)
        words.append(f"max_conns={most}")
    return Token(" ".join(words))


def sticky(upstream: Upstream) -> list[Token]:
    """The cookie that keeps a client with its endpoint; in OSS nginx since 1.29.6."""
    kept = upstream.balancing.sticky
    if kept is None:
        return []
    words = [tokens.word("cookie"), tokens.header_name(kept.cookie)]
    if kept.max_age is not None:
        age = tokens.number(round(kept.max_age), low=1, high=31_536_000)
        words.append(tokens.joined(Token("expires="), age, Token("s")))
    words += [Token("path=/"), tokens.word("httponly"), Token("samesite=lax")]
    words += [tokens.word("secure")] if kept.secure else []
    return [directive("sticky", *words)]


def key(chosen: HashKey) -> Variable:
    """The variable with what of a request is hashed or counted."""
    if (prefix := _PREFIXES.get(chosen.type)) is None:
        return Variable(_VARIABLES[chosen.type])
    # Of headers, nginx makes variables in lower case with _ for every dash.
    return Variable(prefix + chosen.name.lower().replace("-", "_"))
