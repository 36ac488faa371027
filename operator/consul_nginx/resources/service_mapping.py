"""ServiceMapping: which requests of a listener go where, and how they are passed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.resources import backends as targets
from consul_nginx.resources import balancing as spreading
from consul_nginx.resources import health as healthy
from consul_nginx.resources import limits as limiting
from consul_nginx.resources import traffic as passing
from consul_nginx.resources.backend_tls import (
    BACKEND_TLS_RULES,
    NEEDS_TLS,
    BackendTls,
    backend_tls,
)
from consul_nginx.resources.base import FieldError, Invalid, SpecModel, parse_meta
from consul_nginx.resources.basic_auth import BasicAuth, basic_auth
from consul_nginx.resources.cors import CORS_RULES, Cors, cors
from consul_nginx.resources.external_auth import (
    EXTERNAL_AUTH_OF_MAPPINGS,
    EXTERNAL_AUTH_RULES,
    ExternalAuth,
    external_auth,
)
from consul_nginx.resources.external_auth import objection as auth_objection
from consul_nginx.resources.headers import HEADERS_RULES, Headers, headers
from consul_nginx.resources.matching import PATH_RULES, PLAIN_PATH, Hostname, Path, path
from consul_nginx.resources.mirror import MIRROR_RULES, Mirror, mirror
from consul_nginx.resources.mirror import objection as mirror_objection
from consul_nginx.resources.problems import problems_of
from consul_nginx.resources.request_match import MATCH_RULES, Match, request_match
from consul_nginx.resources.texts import DnsLabel

ONE_OF = "exactly one of backends, redirect and fixedResponse says what becomes of the requests"
NEEDS_BACKENDS = "means nothing without backends: nginx answers itself"
NGINX_WRITES = "nginx writes this header itself"
CONTENT_TYPE = "Content-Type is said in fixedResponse.contentType"
REPLACES_PREFIX = "replacePrefix needs a path of type Prefix and a backendProtocol of HTTP or HTTPS"

_HTTP_ONLY = (
    "hostnames", "path", "match", "redirect", "fixed_response", "backend_protocol", "backend_tls",
    "max_body_size", "buffering", "gzip", "websocket", "request_headers", "response_headers",
    "replace_prefix", "cors", "mirror", "external_auth", "basic_auth",
)  # fmt: skip
_STREAM_ONLY = ("send_proxy_protocol",)
_FOR_BACKENDS = (
    "fallback", "balancing", "health", "backend_protocol", "backend_tls", "timeouts", "retries",
    "max_body_size", "buffering", "gzip", "websocket", "request_headers", "replace_prefix",
    "access_control", "limits", "cors", "basic_auth", "send_proxy_protocol",
)  # fmt: skip


class LoadBalancerRef(SpecModel):
    """Names the LoadBalancer that this mapping belongs to."""

    name: Annotated[DnsLabel, Field(description="Name of a LoadBalancer.")]
    namespace: Annotated[
        DnsLabel | None,
        Field(
            description=(
                "Its namespace, by default the mapping's own; a LoadBalancer says in "
                "allowedNamespaces whom it takes mappings from."
            )
        ),
    ] = None


class ServiceMappingSpec(SpecModel):
    """Which requests go where, and how they are passed on."""

    load_balancer_ref: Annotated[
        LoadBalancerRef, Field(description="LoadBalancer that serves the requests.")
    ]
    listener: Annotated[DnsLabel, Field(description="Name of one of its listeners.")]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Field(
            max_length=64,
            description=(
                "Host names, in lower case, that requests ask for: names, *.example.com for all "
                "below it, IP addresses (IPv6 in brackets). A full name wins over *, the longer * "
                "over the shorter. Empty takes the requests that no other mapping of the listener "
                "names."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    path: Annotated[
        Path,
        Field(
            description="Which request paths are meant.",
            json_schema_extra={"x-kubernetes-validations": PATH_RULES},
        ),
    ] = Path()
    match: Annotated[
        Match,
        Field(
            description=(
                "What requests are like beside that; by default all are meant. Of mappings with "
                "one host and path, one with methods comes first, then the one with more headers, "
                "then with more query parameters, then the older. What fits none goes on to the "
                "next weaker path that takes it."
            ),
            json_schema_extra={"x-kubernetes-validations": MATCH_RULES},
        ),
    ] = Match()
    backends: Annotated[
        tuple[targets.Backend, ...],
        Field(
            max_length=16,
            description="Consul services that requests go to, by their weights.",
            json_schema_extra={
                "x-kubernetes-validations": [
                    {
                        "rule": "self.size() == 0 || self.exists(b, b.weight > 0)",
                        "message": targets.NO_SHARE,
                    }
                ]
            },
        ),
    ] = ()
    redirect: Annotated[
        targets.Redirect | None,
        Field(description="Instead of backends: clients are sent elsewhere."),
    ] = None
    fixed_response: Annotated[
        targets.FixedResponse | None,
        Field(
            description="Instead of backends: nginx answers itself.",
            json_schema_extra={"x-kubernetes-validations": targets.FIXED_RESPONSE_RULES},
        ),
    ] = None
    fallback: Annotated[
        tuple[targets.FallbackEndpoint, ...],
        Field(
            max_length=16,
            description=(
                "Servers that get the requests while too few instances are healthy, as "
                "health.onEmpty has it."
            ),
        ),
    ] = ()
    balancing: Annotated[
        spreading.Balancing,
        Field(
            description="How requests are spread over instances.",
            json_schema_extra={"x-kubernetes-validations": spreading.BALANCING_RULES},
        ),
    ] = spreading.Balancing()
    health: Annotated[
        healthy.Health,
        Field(
            description="Which instances get requests, and what happens when too few are healthy.",
            json_schema_extra={"x-kubernetes-validations": healthy.HEALTH_RULES},
        ),
    ] = healthy.Health()
    backend_protocol: Annotated[
        Literal["HTTP", "HTTPS", "GRPC", "GRPCS"],
        Field(
            description=(
                "What is spoken with the backends; the two with an S encrypt, and verify what "
                "backendTls asks for. gRPC clients need a listener with http2."
            )
        ),
    ] = "HTTP"
    backend_tls: Annotated[
        BackendTls | None,
        Field(
            description="What is asked of backends' certificates; by default nothing.",
            json_schema_extra={"x-kubernetes-validations": BACKEND_TLS_RULES},
        ),
    ] = None
    timeouts: Annotated[
        passing.Timeouts, Field(description="How long nginx waits for an endpoint.")
    ] = passing.Timeouts()
    retries: Annotated[
        passing.Retries, Field(description="When a request is given to the next endpoint.")
    ] = passing.Retries()
    max_body_size: Annotated[
        Annotated[str, StringConstraints(pattern=passing.SIZE, max_length=8)] | None,
        Field(description="Largest body of a request, such as 10m; 0: any. By default 1m."),
    ] = None
    buffering: Annotated[
        passing.Buffering, Field(description="Whether nginx reads ahead of the slower side.")
    ] = passing.Buffering()
    gzip: Annotated[
        passing.Gzip | None, Field(description="Compression of answers; off without it.")
    ] = None
    websocket: Annotated[
        bool, Field(description="Whether clients may change to the WebSocket protocol.")
    ] = True
    request_headers: Annotated[
        Headers,
        Field(
            description="Changes of the headers that backends see.",
            json_schema_extra={"x-kubernetes-validations": HEADERS_RULES},
        ),
    ] = Headers()
    response_headers: Annotated[
        Headers,
        Field(
            description="Changes of the headers that clients see.",
            json_schema_extra={"x-kubernetes-validations": HEADERS_RULES},
        ),
    ] = Headers()
    replace_prefix: Annotated[
        Annotated[str, StringConstraints(pattern=PLAIN_PATH, max_length=512)] | None,
        Field(description="What backends see in place of the path's prefix, such as /."),
    ] = None
    access_control: Annotated[
        limiting.AccessControl | None,
        Field(
            description="Addresses of clients that are served.",
            json_schema_extra={"x-kubernetes-validations": limiting.ACCESS_RULES},
        ),
    ] = None
    limits: Annotated[limiting.Limits, Field(description="How much each client may ask for.")] = (
        limiting.Limits()
    )
    cors: Annotated[
        Cors | None,
        Field(
            description="Pages of other sites that may read answers.",
            json_schema_extra={"x-kubernetes-validations": CORS_RULES},
        ),
    ] = None
    mirror: Annotated[
        Mirror | None,
        Field(description="Other backends that get copies of requests; nobody gets their answers."),
    ] = None
    external_auth: Annotated[
        ExternalAuth | None,
        Field(
            description="A service that is asked whether each request is served.",
            json_schema_extra={"x-kubernetes-validations": EXTERNAL_AUTH_RULES},
        ),
    ] = None
    basic_auth: Annotated[
        BasicAuth | None, Field(description="Users that are let in, by name and password.")
    ] = None
    send_proxy_protocol: Annotated[
        bool,
        Field(description="Tell TCP backends of the client's address by the PROXY protocol."),
    ] = False

    @model_validator(mode="after")
    def _consistent(self) -> ServiceMappingSpec:
        targets_given = [
            name
            for name, value in (
                ("backends", self.backends),
                ("redirect", self.redirect),
                ("fixedResponse", self.fixed_response),
            )
            if value
        ]
        if len(targets_given) != 1:
            raise FieldError(targets_given[-1] if targets_given else "backends", ONE_OF)
        if self.backends and not any(item.weight for item in self.backends):
            raise FieldError("backends", targets.NO_SHARE)
        if self.replace_prefix is not None and (
            self.path.type != "Prefix" or self.backend_protocol not in ("HTTP", "HTTPS")
        ):
            raise FieldError("replacePrefix", REPLACES_PREFIX)
        if self.health.on_empty == "Fallback" and not self.fallback:
            raise FieldError("fallback", healthy.FALLBACK_MISSING)
        if self.health.on_empty == "Fail" and self.fallback:
            raise FieldError("fallback", healthy.FALLBACK_UNUSED)
        if self.backend_tls is not None and self.backend_protocol not in ("HTTPS", "GRPCS"):
            raise FieldError("backendTls", NEEDS_TLS)
        if self.mirror is not None and (why := _uncopied(self)):
            raise FieldError("mirror", why)
        if self.external_auth is not None and (why := _unauthorized(self, self.external_auth)):
            raise FieldError("externalAuth", why)
        if why := _written_twice(self):
            raise FieldError("responseHeaders", f"set: {why}")
        if not self.backends and (unused := _in_use(self, _FOR_BACKENDS)):
            raise FieldError(unused[0].removeprefix("spec."), NEEDS_BACKENDS)
        return self


RULES = (
    {
        "rule": "!has(self.backendTls) || self.backendProtocol in ['HTTPS', 'GRPCS']",
        "message": NEEDS_TLS,
    },
    {
        # nginx answers itself before it would ask for a password.
        "rule": "!has(self.basicAuth) || self.backends.size() > 0",
        "message": f"basicAuth {NEEDS_BACKENDS}",
        "fieldPath": ".basicAuth",
    },
    {
        "rule": (
            "(self.backends.size() > 0 ? 1 : 0) + (has(self.redirect) ? 1 : 0) + "
            "(has(self.fixedResponse) ? 1 : 0) == 1"
        ),
        "message": ONE_OF,
    },
    {
        "rule": (
            "!has(self.replacePrefix) || (self.path.type == 'Prefix' && "
            "self.backendProtocol in ['HTTP', 'HTTPS'])"
        ),
        "message": REPLACES_PREFIX,
    },
    *healthy.FALLBACK_RULES,
    *MIRROR_RULES,
    *EXTERNAL_AUTH_OF_MAPPINGS,
)


def parse_service_mapping(raw: Mapping[str, Any]) -> model.ServiceMapping | Invalid:
    """Validate an object of the API; everything that is wrong with it comes back at once."""
    meta = parse_meta(raw)
    try:
        spec = ServiceMappingSpec.model_validate(raw.get("spec", {}))
    except ValidationError as error:
        return Invalid(meta=meta, problems=problems_of(error, model=ServiceMappingSpec))
    group = _group(spec, namespace=meta.ref.namespace) if spec.backends else None
    return model.ServiceMapping(
        meta=meta,
        load_balancer=ObjectRef(
            namespace=spec.load_balancer_ref.namespace or meta.ref.namespace,
            name=spec.load_balancer_ref.name,
        ),
        listener=spec.listener,
        hostnames=tuple(sorted(set(spec.hostnames))),
        path=path(spec.path),
        match=request_match(spec.match),
        group=group,
        mirror=mirror(spec.mirror, protocol=group.protocol, tls=group.tls) if group else None,
        external_auth=external_auth(spec.external_auth, namespace=meta.ref.namespace),
        answer=targets.answer(redirect=spec.redirect, fixed_response=spec.fixed_response),
        traffic=_traffic(spec),
        http_fields=(*_in_use(spec, _HTTP_ONLY), *_http_parts(spec)),
        stream_fields=_in_use(spec, _STREAM_ONLY),
    )


def _group(spec: ServiceMappingSpec, *, namespace: str) -> model.BackendGroup:
    return model.BackendGroup(
        backends=tuple(sorted(map(targets.backend, spec.backends))),
        balancing=spreading.balancing(spec.balancing),
        policy=healthy.policy(spec.health, slow_start=spec.balancing.slow_start),
        health=healthy.avoidance(spec.health),
        fallback=tuple(
            sorted(
                model.Endpoint(address=item.address, port=item.port, weight=item.weight)
                for item in spec.fallback
            )
        ),
        protocol=model.BackendProtocol(spec.backend_protocol),
        tls=backend_tls(spec.backend_tls, namespace=namespace),
    )


def _traffic(spec: ServiceMappingSpec) -> model.Traffic:
    return model.Traffic(
        timeouts=passing.timeouts(spec.timeouts),
        retries=passing.retries(spec.retries),
        max_body_size=spec.max_body_size or "",
        buffer_requests=spec.buffering.requests,
        buffer_responses=spec.buffering.responses,
        gzip=passing.gzip(spec.gzip),
        websocket=spec.websocket,
        request_headers=headers(spec.request_headers),
        response_headers=headers(spec.response_headers),
        replace_prefix=spec.replace_prefix or "",
        access_control=limiting.access_control(spec.access_control),
        limits=limiting.limits(spec.limits),
        cors=cors(spec.cors),
        basic_auth=basic_auth(spec.basic_auth),
        idle_timeout=passing.idle_timeout(spec.timeouts),
        send_proxy_protocol=spec.send_proxy_protocol,
    )


def _uncopied(spec: ServiceMappingSpec) -> str | None:
    return mirror_objection(
        has_backends=bool(spec.backends),
        protocol=spec.backend_protocol,
        buffers_requests=spec.buffering.requests,
        replaces_prefix=spec.replace_prefix is not None,
    )


def _unauthorized(spec: ServiceMappingSpec, auth: ExternalAuth) -> str | None:
    changes = spec.request_headers
    names = (*(item.name for item in changes.set), *changes.remove)
    return auth_objection(
        auth,
        has_backends=bool(spec.backends),
        asks_for_password=spec.basic_auth is not None,
        changed_headers=frozenset(name.lower() for name in names),
    )


def _written_twice(spec: ServiceMappingSpec) -> str | None:
    """Why an answer would have a header twice: once as it is set, once by nginx."""
    for name in (item.name.lower() for item in spec.response_headers.set):
        if name in ("date", "server") or (name == "location" and spec.redirect is not None):
            return f"{name}: {NGINX_WRITES}"
        if name == "content-type" and not spec.backends:
            return CONTENT_TYPE
    return None


def _in_use(spec: ServiceMappingSpec, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the fields that say something else than their default, as they are written."""
    fields = ServiceMappingSpec.model_fields
    return tuple(
        f"spec.{fields[name].alias}"
        for name in names
        if getattr(spec, name) != fields[name].default
    )


def _http_parts(spec: ServiceMappingSpec) -> tuple[str, ...]:
    """Parts of fields for all listeners that only those which speak HTTP understand."""
    parts = {
        "spec.limits.requests": spec.limits.requests is not None,
        "spec.balancing.sticky": spec.balancing.sticky is not None,
        "spec.balancing.hashKey": spec.balancing.hash_key.type != "ClientIP",
    }
    return tuple(name for name, in_use in parts.items() if in_use)
