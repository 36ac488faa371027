"""Harmless objects that together set every field, and a walk over every text in them.

A field that is new in the models and not in here fails test_hostile_fields.py.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Path = tuple[str | int, ...]

_REQUEST_HEADERS = {"set": [{"name": "X-Tenant", "value": "shop $host"}], "remove": ["X-Debug"]}
_RESPONSE_HEADERS = {"set": [{"name": "X-Frame-Options", "value": "DENY"}], "remove": ["X-Own"]}
_REF = {"name": "edge", "namespace": "shop"}
_TIMEOUTS = {"connect": "2s", "read": "30s", "send": "31s"}
_BALANCING = {
    "algorithm": "ConsistentHash",
    "hashKey": {"type": "Header", "name": "X-User"},
    "maxConnections": 100,
    "keepalive": {"connections": 16, "requests": 100, "timeout": "30s"},
}
_RETRIES = {
    "conditions": ["error", "http_502"],
    "attempts": 2,
    "timeout": "3s",
    "nonIdempotent": True,
}
_BACKEND = {
    "service": "web",
    "tags": ["v2"],
    "datacenter": "dc1",
    "filter": 'Service.Meta.version == "2"',
    "namespace": "default",
    "partition": "default",
    "weight": 9,
    "near": {"node": "node-1", "instances": 2},
}

LOAD_BALANCER: dict[str, Any] = {
    "paused": False,
    "consul": {
        "address": "http://consul:8500",
        "datacenter": "dc1",
        "tokenSecretRef": {"name": "consul", "key": "token"},
    },
    "listeners": [
        {
            "name": "http", "protocol": "HTTP", "port": 80, "http2": True,
            "realIp": {"trustedSources": ["10.0.0.0/8"], "header": "X-Forwarded-For"},
            "accessLog": {"format": "own", "template": "$remote_addr $status"},
            "allowedHostnames": ["*"], "allowedServices": ["*"],
            "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}},
        },
        {"name": "plain", "port": 81, "httpsRedirect": {"port": 443, "statusCode": 301}},
        {"name": "behind", "port": 82, "proxyProtocol": {"trustedSources": ["10.0.0.0/8"]}},
        {
            "name": "tcp", "protocol": "TCP", "port": 90,
            "accessLog": {"format": "own", "template": "$remote_addr $status"},
        },
        {"name": "udp", "protocol": "UDP", "port": 91},
        {"name": "own", "port": 83, "template": {"configMapRef": {"name": "own", "key": "text"}}},
        {
            "name": "https", "protocol": "HTTPS", "port": 443,
            "tls": {
                "mode": "Terminate", "certificateRefs": [{"name": "web-tls"}],
                "minVersion": "TLSv1.3",
                "clientValidation": {"caCertificateRefs": [{"kind": "Secret", "name": "ca"}]},
            },
        },
    ],
    "template": {"configMapRef": {"name": "own", "key": "http"}},
    "streamTemplate": {"configMapRef": {"name": "own", "key": "stream"}},
    "ipFamilies": ["IPv4"],
    "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}},
    "access": "Service",
    "deployment": {
        "kind": "Deployment",
        "replicas": 2,
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}},
        "podTemplate": {
            "labels": {"team": "shop"},
            "annotations": {"note": "text"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [
                {
                    "key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute",
                    "tolerationSeconds": 5,
                }
            ],
            "priorityClassName": "high",
        },
    },
    "service": {"type": "ClusterIP", "annotations": {"note": "text"}},
    "reload": {
        "keepaliveGrace": "2s", "shutdownTimeout": "30s", "quietPeriod": "100ms", "maxDelay": "1s",
        "minInterval": "0s",
    },
}  # fmt: skip

MAPPINGS: dict[str, dict[str, Any]] = {
    "full": {
        "loadBalancerRef": _REF,
        "listener": "http",
        "hostnames": ["shop.example.com"],
        "path": {"type": "Prefix", "value": "/features"},
        "match": {
            "methods": ["GET"],
            "headers": [
                {"name": "X-Beta", "type": "Exact", "value": "yes"},
                {"name": "X-Tenant", "type": "RegularExpression", "value": "shop-[0-9]+"},
            ],
            "queryParameters": [
                {"name": "version", "type": "RegularExpression", "value": "v[23]"},
                {"name": "sort", "type": "Exact", "value": "name"},
            ],
        },
        "backends": [_BACKEND, {"service": "canary", "weight": 1}],
        "fallback": [{"address": "10.9.9.9", "port": 8080, "weight": 2}],
        "balancing": _BALANCING,
        "health": {
            "include": ["passing", "warning"], "minHealthy": 1, "onEmpty": "Fallback",
            "holdTime": "5s", "maxAge": "5m", "holdDown": "10s", "maxFails": 3,
            "failTimeout": "20s",
        },
        "accessControl": {"allow": ["10.0.0.0/8"], "deny": ["10.9.0.0/16"]},
        "limits": {
            "requests": {
                "rate": 10, "period": "Minute", "burst": 5,
                "key": {"type": "Header", "name": "X-User"},
            },
            "connections": 10,
        },
        "cors": {
            "allowOrigins": ["https://shop.example.com", "https://*.example.org"],
            "allowMethods": ["GET"], "allowHeaders": ["X-Tenant"], "exposeHeaders": ["X-Own"],
            "allowCredentials": True, "maxAge": "1h",
        },
        "basicAuth": {"secretRef": {"name": "admins"}, "realm": "Staff"},
        "backendProtocol": "HTTPS",
        "backendTls": {
            "caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}],
            "serverName": "web.example.com",
        },
        "timeouts": _TIMEOUTS,
        "retries": _RETRIES,
        "maxBodySize": "10m",
        "buffering": {"requests": False, "responses": False},
        "gzip": {"types": ["text/css"], "minLength": 100, "level": 5},
        "websocket": True,
        "requestHeaders": _REQUEST_HEADERS,
        "responseHeaders": _RESPONSE_HEADERS,
        "replacePrefix": "/v2",
    },
    "grpc": {
        "loadBalancerRef": _REF,
        "listener": "http",
        "hostnames": ["grpc.example.com"],
        "path": {"type": "RegularExpression", "value": "/v[0-9]+/.*"},
        "backends": [{"service": "grpc"}],
        "balancing": {
            "slowStart": "30s",
            "sticky": {"cookie": "place", "maxAge": "1h", "secure": True},
        },
        "backendProtocol": "GRPC",
        "timeouts": _TIMEOUTS,
        "retries": _RETRIES,
        "requestHeaders": _REQUEST_HEADERS,
        "responseHeaders": _RESPONSE_HEADERS,
    },
    "redirect": {
        "loadBalancerRef": _REF,
        "listener": "behind",
        "path": {"type": "Exact", "value": "/old"},
        "redirect": {
            "statusCode": 301, "scheme": "https", "hostname": "new.example.com", "port": 8443,
            "path": "/new",
        },
        "responseHeaders": _RESPONSE_HEADERS,
    },
    "fixed": {
        "loadBalancerRef": _REF,
        "listener": "behind",
        "hostnames": ["*.example.com"],
        "fixedResponse": {"statusCode": 200, "contentType": "text/html", "body": "<p>closed</p>"},
        "responseHeaders": _RESPONSE_HEADERS,
    },
    "copied": {
        "loadBalancerRef": _REF,
        "listener": "http",
        "hostnames": ["copied.example.com"],
        "backends": [{"service": "web"}],
        "backendProtocol": "HTTPS",
        "backendTls": {
            "caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}],
            "serverName": "web.example.com",
        },
        "requestHeaders": _REQUEST_HEADERS,
        "mirror": {"backends": [_BACKEND, {"service": "shadow"}], "percent": 10, "timeout": "3s"},
        "externalAuth": {
            "backends": [_BACKEND, {"service": "auth"}],
            "path": "/verify",
            "backendProtocol": "HTTPS",
            "backendTls": {
                "caCertificateRefs": [{"kind": "Secret", "name": "ca"}],
                "serverName": "auth.example.com",
            },
            "requestHeaders": ["Cookie"],
            "responseHeaders": ["X-Auth-User"],
            "timeout": "1s",
            "signInUrl": "https://login.example.com:8443/start",
        },
    },
    "tcp": {
        "loadBalancerRef": _REF,
        "listener": "tcp",
        "backends": [{"service": "tcp"}],
        "timeouts": {"connect": "2s", "idle": "5m"},
        "sendProxyProtocol": True,
    },
    "udp": {"loadBalancerRef": _REF, "listener": "udp", "backends": [{"service": "udp"}]},
}  # fmt: skip

# What Consul 1.22 answers to /v1/health/service/web.
ENTRY: dict[str, Any] = {
    "Node": {
        "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": "node-1", "Address": "192.0.2.1",
        "Datacenter": "dc1", "Partition": "default", "PeerName": "peer",
        "TaggedAddresses": {"lan": "192.0.2.1", "wan_ipv4": "192.0.2.1"},
        "Meta": {"consul-network-segment": ""},
        "CreateIndex": 1, "ModifyIndex": 2,
    },
    "Service": {
        "ID": "web-1", "Service": "web", "Tags": ["v2"], "Address": "10.244.1.5",
        "TaggedAddresses": {"lan": {"Address": "10.244.1.5", "Port": 8080}},
        "Meta": {"version": "2"}, "Port": 8080, "SocketPath": "",
        "Weights": {"Passing": 7, "Warning": 1}, "EnableTagOverride": False, "Kind": "",
        "Proxy": {
            "Mode": "", "DestinationServiceName": "", "LocalServiceAddress": "",
            "MeshGateway": {"Mode": ""}, "Expose": {},
        },
        "Connect": {"Native": False}, "PeerName": "", "Namespace": "default",
        "Partition": "default", "Locality": {"Region": "r", "Zone": "z"},
        "CreateIndex": 1, "ModifyIndex": 2,
    },
    "Checks": [
        {
            "Node": "node-1", "CheckID": "service:web-1", "Name": "Service 'web' check",
            "Status": "passing", "Notes": "", "Output": "ok", "ServiceID": "web-1",
            "ServiceName": "web", "ServiceTags": ["v2"], "Type": "http", "Interval": "10s",
            "Timeout": "1s", "ExposedPort": 0, "Definition": {"HTTP": "http://10.244.1.5/"},
            "CreateIndex": 1, "ModifyIndex": 2,
        }
    ],
}  # fmt: skip


def declared(annotation: Any, *, below: str = "") -> Iterator[str]:
    """Places of a model that can hold text, such as ``listeners[].name``, ``labels{}``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            place = f"{below}.{field.alias or name}".removeprefix(".")
            yield from declared(field.annotation, below=place)
    elif annotation is str or (origin is Literal and any(isinstance(a, str) for a in arguments)):
        yield below
    elif origin is Annotated:
        yield from declared(arguments[0], below=below)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from declared(argument, below=below)
    elif origin is dict:
        yield f"{below}{{}}"
        yield from declared(arguments[1], below=f"{below}{{}}")
    elif origin in (tuple, list, set, frozenset):
        yield from declared(arguments[0], below=f"{below}[]")
    elif annotation not in (int, bool, float, type(None)) and origin is not Literal:
        raise TypeError(f"{below}: a walk over {annotation} has to be written")


def texts(value: Any, *, path: Path = ()) -> Iterator[Path]:
    """Where in an object there is text."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, path=(*path, key))
    elif isinstance(value, Sequence):
        for position, item in enumerate(value):
            yield from texts(item, path=(*path, position))


def leaves(value: Any, *, path: Path = ()) -> Iterator[Path]:
    """Every place in an object, whatever is there."""
    if path:
        yield path
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, path=(*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from leaves(item, path=(*path, position))


def at(value: Any, path: Path) -> Any:
    """What is there."""
    for part in path:
        value = value[part]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """``value`` with ``new`` in one place; nothing of ``value`` itself is changed."""
    if not path:
        return new
    first, *rest = path
    result = list(value) if isinstance(value, list) else dict(value)
    result[first] = put(value[first], tuple(rest), new)  # type: ignore[index]
    return result
