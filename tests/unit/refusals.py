"""What is refused at ``kubectl apply``, and again by Python: by whom it is written, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LISTENER = {"name": "http", "port": 80}
BACKENDS = [{"service": "web"}]
ANSWERS_ITSELF = {"backends": [], "redirect": {"scheme": "https"}}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """``spec`` is wrong in ``field``; people are told ``words``.

    Python may name the field that is above.
    """

    kind: str
    spec: dict[str, Any]
    field: str
    words: str

    @property
    def complete(self) -> dict[str, Any]:
        """``spec`` with the rest that an object needs."""
        if self.kind == "LoadBalancer":
            return {"listeners": [LISTENER], **self.spec}
        return {
            "loadBalancerRef": {"name": "edge"},
            "listener": "http",
            "backends": BACKENDS,
            **self.spec,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.field}: {self.words}"


def _smap(field: str, words: str, **spec: Any) -> Refusal:
    return Refusal(kind="ServiceMapping", spec=spec, field=f"spec.{field}".rstrip("."), words=words)


def _nlb(field: str, words: str, **spec: Any) -> Refusal:
    return Refusal(kind="LoadBalancer", spec=spec, field=f"spec.{field}", words=words)


def _listener(field: str, words: str, **listener: Any) -> Refusal:
    place = f"listeners[0].{field}".rstrip(".")
    return _nlb(place, words, listeners=[{**LISTENER, **listener}])


def _headers(*names: str, **match: str) -> dict[str, Any]:
    return {"headers": [{"name": name, "value": "x", **match} for name in names]}


def _parameters(*names: str, **match: str) -> dict[str, Any]:
    return {"queryParameters": _headers(*names, **match)["headers"]}


TRUSTED = {"trustedSources": ["10.0.0.0/8"]}
CA = {"name": "ca"}
MIRROR = {"backends": [{"service": "shadow"}]}
AUTH = {"backends": [{"service": "auth"}]}
SHOWN = {"certificateRefs": [{"name": "web-tls"}]}

REFUSALS = (
    _smap("hostnames[0]", "should match", hostnames=["Shop.example"]),
    _smap("hostnames[0]", "should match", hostnames=["a.*.example"]),
    _smap("hostnames[0]", "should match", hostnames=["x; }"]),
    _smap("path.value", "a path begins with '/'", path={"value": "/(a|b)$"}),
    _smap("path.value", "should match", path={"value": "/a b"}),
    _smap("path.type", "Unsupported value", path={"type": "Regex", "value": "/"}),
    _smap(
        "path.value",
        "a regular expression has at most 200 characters",
        path={"type": "RegularExpression", "value": "/" + "a" * 200},
    ),
    _smap("match.methods[0]", "Unsupported value", match={"methods": ["TRACE"]}),
    _smap("match.headers[0].name", "should match", match=_headers("X_A")),
    _smap("match.headers[0].name", "hosts are named in spec.hostnames", match=_headers("Host")),
    _smap("match.headers[0].value", "should match", match=_headers("X-A", value=" a")),
    _smap("match.headers", "a header can be named once; its case does not matter",
          match=_headers("X-A", "x-a")),
    _smap("match.headers[0].value", "a regular expression has at most 200 characters",
          match=_headers("X-A", type="RegularExpression", value="a" * 201)),
    _smap("match.queryParameters[0].name", "should match", match=_parameters("a-b")),
    _smap("match.queryParameters[0].value", "should match", match=_parameters("a", value="a b")),
    _smap("match.queryParameters[0].value", "it is compared as it stands in the URL",
          match=_parameters("a", value="b&c=d")),
    _smap("match.queryParameters", "a query parameter can be named once; its case does not matter",
          match=_parameters("a", "A")),
    _smap("match.queryParameters[0].value", "a regular expression has at most 200 characters",
          match=_parameters("a", type="RegularExpression", value="a" * 201)),
    _smap("", "exactly one of backends, redirect and fixedResponse", backends=[]),
    _smap(
        "",
        "exactly one of backends, redirect and fixedResponse",
        redirect={"scheme": "https"},
    ),
    _smap(
        "backends",
        "at least one backend needs a weight above 0",
        backends=[{"service": "web", "weight": 0}],
    ),
    _smap("backends[0].service", "should match", backends=[{"service": "../../kv/secret"}]),
    _smap("backends[0].tags[0]", "should match", backends=[{"service": "web", "tags": ['"']}]),
    _smap(
        "backends[0].weight",
        "should be less than or equal to 1000",
        backends=[{"service": "web", "weight": 1001}],
    ),
    _smap(
        "backends[0].near.node",
        "should match",
        backends=[{"service": "web", "near": {"node": "_agent", "instances": 1}}],
    ),
    _smap(
        "backends[0].near.instances",
        "greater than or equal to 1",
        backends=[{"service": "web", "near": {"node": "node-1", "instances": 0}}],
    ),
    _smap("redirect.statusCode", "Unsupported value", backends=[], redirect={"statusCode": 200}),
    _smap("fallback[0].address", "must be an IPv4 or IPv6 address",
          fallback=[{"address": "10.0.0.256", "port": 80}]),
    _smap("fallback[0].address", "must be an address that other hosts can have",
          fallback=[{"address": "127.0.0.1", "port": 80}]),
    _smap("balancing.hashKey", "a Header, Cookie or QueryParameter needs a name",
          balancing={"algorithm": "ConsistentHash", "hashKey": {"type": "Header"}}),
    _smap("balancing.hashKey", "a Header, Cookie or QueryParameter needs a name",
          balancing={"algorithm": "ConsistentHash", "hashKey": {"type": "URI", "name": "x"}}),
    _smap("balancing.keepalive.timeout", "must be from 1s to 1h",
          balancing={"keepalive": {"timeout": "2h"}}),
    _smap("health.failTimeout", "must be from 1s to 1h", health={"failTimeout": "0s"}),
    _smap("timeouts.connect", "must be from 50ms to 75s", timeouts={"connect": "2m"}),
    _smap("timeouts.read", "should match", timeouts={"read": "1 minute"}),
    _smap("retries.conditions[0]", "Unsupported value", retries={"conditions": ["non_idempotent"]}),
    _smap("retries.attempts", "should be less than or equal to 10", retries={"attempts": 11}),
    _smap("maxBodySize", "should match", maxBodySize="10 MB"),
    _smap("gzip.types[0]", "should match", gzip={"types": ["text"]}),
    _smap("requestHeaders.remove", "a header can't be both set and removed",
          requestHeaders={"set": [{"name": "X-A", "value": "1"}], "remove": ["x-a"]}),
    _smap("requestHeaders.set", "a header can be set once; its case does not matter",
          requestHeaders={"set": [{"name": n, "value": "1"} for n in ("X-A", "x-a")]}),
    _smap("responseHeaders.set", "nginx sets these itself",
          responseHeaders={"set": [{"name": "Connection", "value": "x"}]}),
    _smap("requestHeaders.remove", "nginx sets these itself", requestHeaders={"remove": ["Host"]}),
    _smap("requestHeaders.set[0].value", "should match",
          requestHeaders={"set": [{"name": "X-A", "value": "a\nb: c"}]}),
    _smap("", "replacePrefix needs a path of type Prefix", replacePrefix="/",
          path={"type": "Exact", "value": "/a"}),
    _smap("", "replacePrefix needs a path of type Prefix", replacePrefix="/",
          backendProtocol="GRPC"),
    _smap("snippet", "field not declared in schema", snippet="return 200;"),
    _smap("balancing", "with IPHash and ConsistentHash, each step would move clients",
          balancing={"algorithm": "IPHash", "slowStart": "10s"}),
    _smap("health.include", "include must have passing in it", health={"include": ["warning"]}),
    _smap("health", "holdTime is for Fail and Fallback",
          health={"onEmpty": "KeepLast", "holdTime": "10s"}),
    _smap("", "health.onEmpty Fallback needs spec.fallback", health={"onEmpty": "Fallback"}),
    _smap("", "spec.fallback is never used", health={"onEmpty": "Fail"},
          fallback=[{"address": "10.0.0.1", "port": 80}]),
    _smap("accessControl", "says nothing: name networks in allow or in deny", accessControl={}),
    _smap("accessControl.allow[0]", "must be a network such as 10.0.0.0/8",
          accessControl={"allow": ["10.0.0.1/8"]}),
    _smap("limits.requests.key", "a Header, Cookie or QueryParameter needs a name",
          limits={"requests": {"rate": 1, "key": {"type": "Cookie"}}}),
    _smap("limits.connections", "should be less than or equal to 65535",
          limits={"connections": 65_536}),
    _smap("cors", "browsers refuse credentials for *",
          cors={"allowOrigins": ["*"], "allowCredentials": True}),
    _smap("cors.allowOrigins[0]", "should match", cors={"allowOrigins": ["shop.example.com"]}),
    _listener(
        "allowedNamespaces.from", "Unsupported value", allowedNamespaces={"from": "Others"}
    ),
    _smap("", "a mirror gets copies of what backends get", **ANSWERS_ITSELF, mirror=MIRROR),
    _smap("", "a request is copied when all of it is there", mirror=MIRROR,
          backendProtocol="GRPC"),
    _smap("", "a request is copied when all of it is there", mirror=MIRROR,
          buffering={"requests": False}),
    _smap("", "a mirror can't have a replacePrefix", mirror=MIRROR, replacePrefix="/"),
    _smap("mirror.backends", "at least one backend needs a weight above 0",
          mirror={"backends": [{"service": "web", "weight": 0}]}),
    _smap("mirror.backends", "at least 1 item", mirror={"backends": []}),
    _smap("mirror.backends[0].service", "should match",
          mirror={"backends": [{"service": "../../kv/secret"}]}),
    _smap("mirror.percent", "should be less than or equal to 100",
          mirror={**MIRROR, "percent": 101}),
    _smap("mirror.timeout", "must be from 100ms to 1m", mirror={**MIRROR, "timeout": "2m"}),
    _smap("", "what nginx answers itself is for everybody", **ANSWERS_ITSELF, externalAuth=AUTH),
    _smap("", "what nginx answers itself is for everybody", backends=[], fixedResponse={},
          externalAuth=AUTH),
    _smap("", "can't both say what a header is",
          externalAuth={**AUTH, "responseHeaders": ["X-User"]},
          requestHeaders={"set": [{"name": "x-user", "value": "1"}]}),
    _smap("", "can't both say what a header is",
          externalAuth={**AUTH, "responseHeaders": ["x-user"]},
          requestHeaders={"remove": ["X-User"]}),
    _smap("", "with basicAuth, externalAuth has no signInUrl", basicAuth={"secretRef": CA},
          externalAuth={**AUTH, "signInUrl": "https://login.example"}),
    _smap("externalAuth.backends", "at least one backend needs a weight above 0",
          externalAuth={"backends": [{"service": "auth", "weight": 0}]}),
    _smap("externalAuth.backends", "at least 1 item", externalAuth={"backends": []}),
    _smap("externalAuth.backends[0].service", "should match",
          externalAuth={"backends": [{"service": "../../kv/secret"}]}),
    _smap("externalAuth.path", "should match", externalAuth={**AUTH, "path": "/a; }"}),
    _smap("externalAuth.backendProtocol", "Unsupported value",
          externalAuth={**AUTH, "backendProtocol": "GRPC"}),
    _smap("externalAuth.backendTls", "backendTls is for backendProtocol HTTPS",
          externalAuth={**AUTH, "backendTls": {"caCertificateRefs": [CA]}}),
    _smap("externalAuth.backendTls", "verify and caCertificateRefs need each other",
          externalAuth={**AUTH, "backendProtocol": "HTTPS", "backendTls": {}}),
    _smap("externalAuth.requestHeaders", "the service is told of none, or of nginx's own",
          externalAuth={**AUTH, "requestHeaders": ["Transfer-Encoding"]}),
    _smap("externalAuth.requestHeaders[0]", "should match",
          externalAuth={**AUTH, "requestHeaders": ["a b"]}),
    _smap("externalAuth.responseHeaders", "nginx sets these itself",
          externalAuth={**AUTH, "responseHeaders": ["Host"]}),
    _smap("externalAuth.responseHeaders", "a header can be named once",
          externalAuth={**AUTH, "responseHeaders": ["X-User", "x-user"]}),
    _smap("externalAuth.timeout", "must be from 100ms to 1m",
          externalAuth={**AUTH, "timeout": "5m"}),
    _smap("externalAuth.signInUrl", "should match",
          externalAuth={**AUTH, "signInUrl": "javascript:alert(1)"}),
    _smap("basicAuth.secretRef.name", "should match", basicAuth={"secretRef": {"name": "../ca"}}),
    _smap("basicAuth", "means nothing without backends: nginx answers itself",
          basicAuth={"secretRef": CA}, **ANSWERS_ITSELF),
    _smap("basicAuth", "means nothing without backends: nginx answers itself",
          basicAuth={"secretRef": CA}, backends=[], fixedResponse={"statusCode": 200}),
    _smap("basicAuth.realm", "off means to nginx that nobody is asked for a password",
          basicAuth={"secretRef": CA, "realm": "off"}),
    _smap("basicAuth.realm", "should match", basicAuth={"secretRef": CA, "realm": 'a", b="c'}),
    _smap("basicAuth.realm", "should match", basicAuth={"secretRef": CA, "realm": ""}),
    _listener("", "http2 and realIp are for listeners that speak HTTP", protocol="TCP", http2=True),
    _listener("", "httpsRedirect is for listeners that speak HTTP", protocol="UDP",
              httpsRedirect={}),
    _listener("", "http2 and realIp are for listeners that speak HTTP", protocol="TCP",
              realIp=TRUSTED),
    _listener("", "tls belongs to the protocols HTTPS and TLS", protocol="HTTPS"),
    _listener("", "tls belongs to the protocols HTTPS and TLS", tls=SHOWN),
    _listener("", "mode Passthrough is for protocol TLS", protocol="HTTPS",
              tls={"mode": "Passthrough"}),
    _listener("", "certificateRefs name what nginx shows", protocol="HTTPS", tls={}),
    _listener("", "clientValidation needs mode Terminate", protocol="TLS",
              tls={"mode": "Passthrough", "clientValidation": {"caCertificateRefs": [CA]}}),
    _listener("", "it writes the listener's server blocks", http2=True,
              template={"configMapRef": {"name": "own"}}),
    _listener("", "tls is for listeners that mappings use", protocol="HTTPS", tls=SHOWN,
              template={"configMapRef": {"name": "own"}}),
    _smap("", "backendTls is for backendProtocol HTTPS and GRPCS",
          backendTls={"caCertificateRefs": [CA]}),
    _smap("backendTls", "verify and caCertificateRefs need each other", backendProtocol="HTTPS",
          backendTls={"serverName": "web.example"}),
    _smap("fixedResponse", "what sends clients elsewhere is a redirect", backends=[],
          fixedResponse={"statusCode": 302}),
    _smap("balancing.hashKey", "nginx can't look at a cookie or query parameter with a dash",
          balancing={"algorithm": "ConsistentHash", "hashKey": {"type": "Cookie", "name": "a-b"}}),
    _smap("limits.requests.key", "nginx can't look at a cookie or query parameter with a dash",
          limits={"requests": {"rate": 1, "key": {"type": "QueryParameter", "name": "a-b"}}}),
    _listener("", "UDP has no PROXY protocol", protocol="UDP", proxyProtocol=TRUSTED),
    _listener("", "the format combined is for listeners that speak HTTP", protocol="TCP",
              accessLog={"format": "combined"}),
    _listener("", "not from both", proxyProtocol=TRUSTED, realIp=TRUSTED),
    _listener("", "format own needs a template", accessLog={"format": "own"}),
    _listener("", "format own needs a template", accessLog={"template": "$status"}),
    _listener("realIp.trustedSources[0]", "must be a network such as 10.0.0.0/8",
              realIp={"trustedSources": ["10.0.0.1/8"]}),
    _listener("proxyProtocol.trustedSources[0]", "must be a network such as 10.0.0.0/8",
              proxyProtocol={"trustedSources": ["10.0.0.0/33"]}),
    _listener("port", "should be less than or equal to 65535", port=65536),
    _listener("allowedHostnames[0]", "should match", allowedHostnames=["*.*"]),
    _nlb("listeners", "each port can be used by one listener only",
         listeners=[LISTENER, {"name": "tcp", "protocol": "TCP", "port": 80}]),
    _nlb("listeners", "port 9901 is taken by the agent", listeners=[{"name": "a", "port": 9901}]),
    _nlb("ipFamilies[0]", "Unsupported value", ipFamilies=["IPv5"]),
    _nlb("reload", "keepaliveGrace must be less than shutdownTimeout",
         reload={"keepaliveGrace": "30s"}),
    _nlb("reload.minInterval", "must be from 0s to 1h", reload={"minInterval": "2h"}),
    _nlb("consul", "tokenSecretRef is for an address of your own",
         consul={"tokenSecretRef": {"name": "token"}}),
    _nlb("deployment.resources.limits.memory", "should match",
         deployment={"resources": {"limits": {"memory": "lots"}}}),
    _nlb("deployment.podTemplate.labels.team", "should match",
         deployment={"podTemplate": {"labels": {"team": "a team"}}}),
)  # fmt: skip
