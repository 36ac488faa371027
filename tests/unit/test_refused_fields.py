"""Fields that nginx, or a client of it, would make something else of than their author meant."""

from __future__ import annotations

import pytest

from consul_nginx.model.listener import LogFormat
from consul_nginx.model.variables import HEADER_VARIABLES, VARIABLES
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import UnsafeTokenError
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.factories import load_balancer, mapping, mapping_raw


def header(name="X-Own", value="x"):
    return {"set": [{"name": name, "value": value}]}


def match(field, **changes):
    return {"match": {field: [{"name": "a", "value": "x", **changes}]}}


def hash_key(**key):
    return {"balancing": {"algorithm": "ConsistentHash", "hashKey": key}}


def fixed(**spec):
    return {"backends": [], "fixedResponse": spec}


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        # nginx decodes these: a client's line break would end the header.
        *(
            ({side: header(value=f"a {name}")}, f"spec.{side}.set[0].value", name)
            for side in ("requestHeaders", "responseHeaders")
            for name in ("$uri", "${remote_user}", "$ssl_server_name")
        ),
        # nginx takes the body for the Location, with its line breaks.
        *(
            (fixed(statusCode=status, body="a\nb"), "spec.fixedResponse.statusCode", "redirect")
            for status in (301, 302, 303, 307, 308)
        ),
        # They would be in the answer twice.
        ({"responseHeaders": header("server")}, "spec.responseHeaders", "writes this header"),
        ({"responseHeaders": header("Date")}, "spec.responseHeaders", "writes this header"),
        (
            {**fixed(), "responseHeaders": header("Content-Type")},
            "spec.responseHeaders",
            "fixedResponse.contentType",
        ),
        (
            {"backends": [], "redirect": {}, "responseHeaders": header("location")},
            "spec.responseHeaders",
            "writes this header",
        ),
        # nginx has no such variable, and would hash nothing.
        (hash_key(type="Cookie", name="a-b"), "spec.balancing.hashKey.name", "dash"),
        (hash_key(type="QueryParameter", name="a-b"), "spec.balancing.hashKey.name", "dash"),
        # No client sends it, or nginx looks at no such thing.
        (match("headers", name="X_A"), "spec.match.headers[0].name", "match pattern"),
        (match("headers", name="HOST"), "spec.match.headers[0].name", "spec.hostnames"),
        (match("headers", value="x "), "spec.match.headers[0].value", "match pattern"),
        (match("headers", value="é"), "spec.match.headers[0].value", "match pattern"),
        (match("headers", value=""), "spec.match.headers[0].value", "match pattern"),
        (match("queryParameters", name="a.b"), "spec.match.queryParameters[0].name", "pattern"),
        (match("queryParameters", value="a#b"), "spec.match.queryParameters[0].value", "%23"),
        ({"match": {"methods": ["CONNECT"]}}, "spec.match.methods[0]", "'GET'"),
        # PCRE goes back and forth, or does not know it.
        *(
            (
                match(field, type="RegularExpression", value=value),
                f"spec.match.{field}[0].value",
                reason,
            )
            for field in ("headers", "queryParameters")
            for value, reason in (("(a+)+$", "(?:"), ("(?:a+)+", "take for ever"), ("[", "classes"))
        ),
        # nginx would refuse the whole listener.
        ({"requestHeaders": header("x" * 47)}, "spec.requestHeaders.set[0].name", "46"),
        ({"responseHeaders": {"remove": ["x" * 47]}}, "spec.responseHeaders.remove[0]", "46"),
        ({"gzip": {"types": ["a/" + "x" * 45]}}, "spec.gzip.types[0]", "46"),
        # nginx's tokens would refuse it later, and with it everybody's configuration.
        (
            {"balancing": {"sticky": {"cookie": "-a"}}},
            "spec.balancing.sticky.cookie",
            "match pattern",
        ),
        *(
            ({"cors": {"allowOrigins": [origin]}}, "spec.cors.allowOrigins[0]", reason)
            for origin, reason in (
                ("https://*.a..example", "match pattern"),
                ("https://a-.example", "match pattern"),
                ("https://*.a.example:0", "port"),
                ("https://a.example:65536", "port"),
            )
        ),
        # No request would ever be for them.
        ({"hostnames": ["[:::]"]}, "spec.hostnames[0]", "must be an IPv6 address"),
        ({"hostnames": ["[2001:db8:0::1]"]}, "spec.hostnames[0]", "[2001:db8::1]"),
    ],
)
def test_a_mapping_is_refused_by_field_and_reason(spec, field, reason):
    parsed = parse_service_mapping(mapping_raw(**spec))
    assert isinstance(parsed, Invalid)
    [problem] = parsed.problems
    assert problem.field == field
    assert reason in problem.reason


@pytest.mark.parametrize(
    "spec",
    [
        {"requestHeaders": header(value="$request_uri $$uri")},
        {"responseHeaders": header("Content-Type", "text/html")},
        {"responseHeaders": header("Location", "/")},
        {"hostnames": ["[2001:db8::1]"]},
        hash_key(type="Header", name="X-User-Id"),
        match("headers", name="X-User-Id", value='a "b" & #{$c};\\'),
        match("headers", type="RegularExpression", value='.*[" #&].*'),
        match("queryParameters", name="User_1", value="a%20b+c='d'/?"),
        match("queryParameters", type="RegularExpression", value="[^&#]+"),
        fixed(statusCode=404),
    ],
)
def test_what_is_like_it_and_does_no_harm_is_taken(spec):
    assert mapping(**spec)


def test_logs_may_have_what_headers_may_not():
    assert HEADER_VARIABLES < VARIABLES
    listener = {
        "name": "http",
        "port": 80,
        "accessLog": {"format": "own", "template": "$remote_user $uri"},
    }
    [parsed] = load_balancer(listeners=[listener]).listeners
    assert parsed.access_log.format is LogFormat.OWN


@pytest.mark.parametrize("text", ["fe80::1%eth0; } evil {/64", "fe80::1%a/64", "10.0.0.1/8", "a"])
def test_a_token_of_a_network_is_one(text):
    with pytest.raises(UnsafeTokenError):
        tokens.network(text)


def test_quoted_text_that_is_too_long_for_nginx_is_no_token():
    tokens.quoted("$" * 1000)
    with pytest.raises(UnsafeTokenError, match="too long"):
        tokens.quoted("$" * 600, "$" * 600)
