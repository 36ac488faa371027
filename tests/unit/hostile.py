"""The tables of docs/hostile-values.md: where, which value, and what must happen."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from consul_nginx.consul.transport import MAX_ANSWER_BYTES


@dataclass(frozen=True)
class Row:
    """Where, which value, and what must happen."""

    field: str
    value: Any
    outcome: str


def shown(value: Any) -> str:
    """A value as the document writes it: JSON, long text shortened."""
    if value is MISSING:
        return "missing"
    if isinstance(value, str) and len(value) > 60:
        return f"`{json.dumps(value[:8])[:-1]}…` {len(value):,} characters"
    return f"`{json.dumps(value)}`"


class _Missing:
    """Stands for a field that is not there."""


MISSING = _Missing()

NOT_AN_IP_ADDRESS = "dropped: `NotAnIPAddress`"
WITH_SCOPE = "dropped: `AddressWithScope`"
NOT_ROUTABLE = "dropped: `AddressNotRoutable`"
PORT_OUT_OF_RANGE = "dropped: `PortOutOfRange`"
MALFORMED = "dropped: `Malformed`"
NOT_WRITTEN = "served; it is written nowhere"
NOT_READ = "served; it is not read"
NODES_ADDRESS = "served at the node's address"
LIGHTEST = "served with weight 1"
HEAVIEST = "served with weight 65535"
NOT_PASSING = "not served, as any that is not passing"

LONG = "x" * 10_000

INSTANCES = [
    *(
        Row("Service.Address", value, NOT_AN_IP_ADDRESS)
        for value in (
            "1.2.3.4; } evil {", "10.0.0.1\n; } evil {", "10.0.0.1\0", "10.0.0.1 ", "10.0.0.1:80",
            "10.0.0.1/8", "010.0.0.1", "0x7f.0.0.1", "2130706433", "\u0661\u0660.0.0.1",
            "[2001:db8::1]", "localhost", "example.com", "$host", "unix:/run/status.sock", LONG,
        )
    ),
    Row("Service.Address", "fe80::1%eth0; } evil {", WITH_SCOPE),
    Row("Service.Address", "10.0.0.1%; } evil {", WITH_SCOPE),
    *(
        Row("Service.Address", value, NOT_ROUTABLE)
        for value in (
            "127.0.0.1", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "fe80::1",
            "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
        )
    ),
    Row("Service.Address", "", NODES_ADDRESS),
    Row("Service.Address", None, NODES_ADDRESS),
    Row("Service.Address", 167772161, MALFORMED),
    Row("Service.Address", ["10.0.0.1"], MALFORMED),
    Row("Node.Address", "10.0.0.1; } evil {", NOT_AN_IP_ADDRESS),
    Row("Node.Address", "", NOT_AN_IP_ADDRESS),
    Row("Node.Address", "127.0.0.1", NOT_ROUTABLE),
    Row("Node.Address", {}, MALFORMED),
    *(
        Row("Service.Port", value, PORT_OUT_OF_RANGE)
        for value in (-1, 0, 65536, 2**31, 2**63 - 1, 10**20, None, MISSING)
    ),
    *(
        Row("Service.Port", value, MALFORMED)
        for value in ("8080", 8080.0, True, [8080], float("inf"))
    ),
    Row("Service.Weights", {"Passing": 0}, LIGHTEST),
    Row("Service.Weights", {"Passing": -5}, LIGHTEST),
    Row("Service.Weights", {"Passing": 10**9}, HEAVIEST),
    Row("Service.Weights", None, LIGHTEST),
    *(
        Row("Service.Weights", value, MALFORMED)
        for value in ([1], "1", {"Passing": "1; } evil {"}, {"Passing": 1.5}, {"Passing": True})
    ),
    Row("Service.ID", "; } evil {\n", NOT_WRITTEN),
    Row("Service.ID", "../../kv/secret", NOT_WRITTEN),
    Row("Service.ID", LONG, NOT_WRITTEN),
    Row("Service.ID", None, MALFORMED),
    Row("Service.ID", 7, MALFORMED),
    Row("Service.Service", "../../kv/secret", NOT_READ),
    Row("Service.Tags", ["} evil {", "$host", "\n;"], NOT_READ),
    Row("Service.Tags", "no list", NOT_READ),
    Row("Service.Meta", {"a": "} evil {\n$host"}, NOT_READ),
    Row("Service.Meta", [], NOT_READ),
    Row(
        "Service.Meta",
        {
            "consul_nginx_cluster": "$host",
            "consul_nginx_namespace": "../..",
            "consul_nginx_pod_uid": "; } evil {\n",
        },
        NOT_WRITTEN,
    ),
    Row("Service.SocketPath", "/run/evil.sock", NOT_READ),
    Row("Node.Node", "node; } evil {\n", NOT_WRITTEN),
    Row("Node.Node", LONG, NOT_WRITTEN),
    Row("Node.Node", None, MALFORMED),
    Row("Node.Meta", {"a": "} evil {"}, NOT_READ),
    Row("Checks[0].CheckID", "; } evil {\n", NOT_WRITTEN),
    Row("Checks[0].CheckID", "_node_maintenance", NOT_PASSING),
    Row("Checks[0].CheckID", 7, MALFORMED),
    Row("Checks[0].Status", "passing; }", NOT_PASSING),
    Row("Checks[0].Status", "PASSING", NOT_PASSING),
    Row("Checks[0].Status", None, MALFORMED),
    Row("Checks[0].Status", ["passing"], MALFORMED),
    Row("Checks[0].Output", "} evil {\n$host", NOT_READ),
    *(Row("Checks[0]", value, MALFORMED) for value in (None, [], "passing")),
    *(Row("Checks", value, MALFORMED) for value in (None, {}, "passing", MISSING)),
    *(Row("Service", value, MALFORMED) for value in (None, [], "web", MISSING)),
    *(Row("Node", value, MALFORMED) for value in (None, [], "node-1", MISSING)),
    *(Row("entry", value, MALFORMED) for value in (None, 1, "web", [])),
]  # fmt: skip

UNREACHABLE = "kept: `ConsulUnreachable`"
REFUSED = "kept: `ConsulRefused`"

ANSWERS = [
    *(
        Row("body", value, UNREACHABLE)
        for value in (
            "", "<html>", "null", '{"error": "x"}', "[1]", '[{"Node": {}}]', "[" * 100_000,
            "9" * 5_000, "[" + " " * MAX_ANSWER_BYTES + "]",
        )
    ),
    *(Row("X-Consul-Index", value, UNREACHABLE) for value in (MISSING, "x", "9" * 5_000)),
    Row("X-Consul-Results-Filtered-By-ACLs", "true", REFUSED),
    *(Row("status", value, UNREACHABLE) for value in (301, 404, 429, 500)),
    *(Row("status", value, REFUSED) for value in (400, 403)),
]  # fmt: skip

INVALID = "refused: `Invalid`"

RESOURCES = [
    *(Row("smap.spec.listener", value, INVALID) for value in ("http {", "HTTP", "")),
    *(
        Row("smap.spec.hostnames[0]", value, INVALID)
        for value in (
            "shop.example.com; } evil {", "shop.example.com\n", "a b", "$host", "*example.com",
            "a.*.example.com", "[::1", "[fe80::1%25eth0]",
            "Shop.example.com", "例.example.com", "a..b", "", '"a"', "~^a", "x" * 254,
        )
    ),
    *(
        Row("smap.spec.path.value", value, INVALID)
        for value in (
            "/a b", "/a;", "/a{", "/$uri", "/a\n", "/a\0", '/"a"', "/a//b", "/é", "/%2e", "a", "",
            "/" + "x" * 600,
        )
    ),
    Row("smap.spec.path.type", "Regex", INVALID),
    *(
        Row("smap.spec.match.methods[0]", value, INVALID)
        for value in ("GET) return 200;", "get", "CONNECT", "PURGE", "")
    ),
    *(
        Row("smap.spec.match.headers[0].name", value, INVALID)
        for value in ("X_A", "X-A: b", "X-A\n", "$host", "http_x}", "é", "", "x" * 65)
    ),
    *(
        Row("smap.spec.match.headers[0].value", value, INVALID)
        for value in ("a\n", "a\0", "\t", " a", "é", "", "x" * 513)
    ),
    *(
        Row("smap.spec.match.queryParameters[0].name", value, INVALID)
        for value in ("a-b", "a.b", "a=b", "a\n", "$args", "é", "", "x" * 65)
    ),
    *(
        Row("smap.spec.match.queryParameters[0].value", value, INVALID)
        for value in ("a b", "a&b", "#", "a\n", "a\0", "é", "", "x" * 513)
    ),
    *(
        Row("smap.spec.backends[0].service", value, INVALID)
        for value in ("../../kv/secret", "a/b", ".", "", "a b", "a\0", "a?dc=x", "x" * 129)
    ),
    *(
        Row("smap.spec.backends[0].tags[0]", value, INVALID)
        for value in ('x"; }', "$host", "a&dc=x", "", "a\n")
    ),
    *(Row("smap.spec.backends[0].datacenter", value, INVALID) for value in ("dc1&x", "../x", "")),
    *(Row("smap.spec.loadBalancerRef.name", value, INVALID) for value in ("../x", "Edge", "a\n")),
    *(Row("smap.spec.loadBalancerRef.namespace", value, INVALID) for value in ("../x", "a/b", "")),
    *(
        Row("smap.spec.basicAuth.secretRef.name", value, INVALID)
        for value in ("../ca", "shop/admins", "Admins", "a\n", "")
    ),
    *(
        Row("smap.spec.basicAuth.realm", value, INVALID)
        for value in ("off", 'a", charset="x', "a\\", "a\r\nSet-Cookie: b", "é", "", "x" * 65)
    ),
    Row("smap.spec.snippet", "return 200;", INVALID),
    *(Row("nlb.spec.listeners[0].name", value, INVALID) for value in ("http {", "a\n", "")),
    *(Row("nlb.spec.listeners[0].port", value, INVALID) for value in (0, -1, 65536, 2**31, 80.5)),
    Row("nlb.spec.listeners[0].protocol", "SCTP", INVALID),
    *(
        Row("nlb.spec.consul.address", value, INVALID)
        for value in (
            "file:///etc/passwd", "http://consul;x", "http://u:p@consul", "http://consul/x", "x",
            "http://consul\n",
        )
    ),
    *(Row("nlb.spec.consul.datacenter", value, INVALID) for value in ("dc1&token=x", "a\n")),
    *(
        Row("nlb.spec.reload.keepaliveGrace", value, INVALID)
        for value in ("2s; } evil {", "-1s", "1d", "2", "2s\n", "99999h", "\u0662s")
    ),
    *(Row("nlb.spec.deployment.replicas", value, INVALID) for value in (-1, 101, 2**31)),
    Row("nlb.spec.deployment.kind", "Pod", INVALID),
    Row("nlb.spec.service.type", "ExternalName", INVALID),
    *(
        Row("nlb.spec.template.configMapRef.name", value, INVALID)
        for value in ("../x", "a/b", "A", "a\n", "")
    ),
    *(
        Row("nlb.spec.template.configMapRef.key", value, INVALID)
        for value in ("../x", "a b", "a\n", "")
    ),
]  # fmt: skip

ACTS = [
    Row("smap.spec.hostnames", "shop.example.com", "rejected: `Conflicted`"),
    Row("smap.spec.listener", "admin", "rejected: `NoMatchingListener`"),
    Row("smap.metadata.namespace", "blog", "rejected: `NotAllowedByLoadBalancer`"),
    Row("smap.spec.backends[0].service", "vault", "rejected: `NotPermitted`"),
    Row("nlb.spec.consul.address", "http://evil:80", "rejected: `ConsulAddressNotAllowed`"),
    Row("nlb.spec.template.configMapRef.name", "mine", "rejected: `TemplateNotAllowed`"),
]

NOT_STARTED = "the operator does not start, and says why"

POLICIES = [
    *(
        Row("consulAddresses[0]", value, NOT_STARTED)
        for value in (
            "consul:8500", "file:///etc/passwd", "http://u:p@consul", "http://consul/x", "http://[",
            "http://consul:0", "http://consul:99999", "http://:80", "http://::1", "http://a..b",
            "http://" + "x" * 64,
        )
    ),
    *(Row("mappings[0].hostnames[0]", value, NOT_STARTED) for value in ("(a+)+$", "a b", "a\n")),
    *(Row("mappings[0].services[0]", value, NOT_STARTED) for value in ("../../kv/*", "", "$x")),
    *(Row("mappings[0].namespaces[0]", value, NOT_STARTED) for value in ("a/b", "")),
    Row("mappings[0].hosts", ["x"], NOT_STARTED),
    *(
        Row("templates[0].kvPrefixes[0]", value, NOT_STARTED)
        for value in ("shop", "/shop/", "", "a b/", "a//", "a@b/")
    ),
]  # fmt: skip

NOT_REGISTERED = "that port is not registered: `InvalidValue`"
FORBIDDEN = "that port is not registered: `NotAllowed`"
NOT_IN_META = "registered without it: `MetaDropped`"
ANOTHER_ID = "registered with another ID: `IDChanged`"
CHECK_NOT_RUN = "registered, nothing is run: `CheckNotRun`"
WITHOUT_EFFECT = "registered as without it: `KeyUnused`"

NUMBERS = ("0", "-1", "65536", "99999999999999999999", "80; } evil {", "8e1", "\u0668\u0660")

ANNOTATIONS = [
    *(
        Row("SERVICE_80_NAME", value, NOT_REGISTERED)
        for value in (
            "; } evil {", "web\n", "web\u0000", "../../kv/secret", "$host", "a b", "w\u00e9b", LONG,
        )
    ),
    Row("SERVICE_80_NAME", "vault", FORBIDDEN),
    *(
        Row("SERVICE_80_ID", value, NOT_REGISTERED)
        for value in (
            "../../kv/secret", "/a", "a//b", "a/../b", "a?b#c", "a%2fb", "a\u0000", "a\n", LONG,
        )
    ),
    Row("SERVICE_80_ID", "c1:shop/web-1:81", ANOTHER_ID),
    Row("SERVICE_80_ID", "c1:blog/web-1:80", FORBIDDEN),
    *(
        Row("SERVICE_80_TAGS", value, NOT_REGISTERED)
        for value in ("a\u0000", "a,b\nc", "x" * 600, "a," * 200, "," * 250_000)
    ),
    *(
        Row("SERVICE_80_IP", value, NOT_REGISTERED)
        for value in (
            "127.0.0.1", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1",
            "::ffff:127.0.0.1", "fe80::1%eth0; } evil {", "localhost", "example.com", "10.0.0.1/8",
            "010.0.0.1", "2130706433",
        )
    ),
    Row("SERVICE_80_IP", "10.9.9.9", FORBIDDEN),
    *(Row("SERVICE_80_PORT", value, NOT_REGISTERED) for value in NUMBERS),
    *(Row("SERVICE_80_WEIGHT", value, NOT_REGISTERED) for value in NUMBERS),
    *(
        Row("SERVICE_80_CHECK_HTTP", value, NOT_REGISTERED)
        for value in ("/a b", "/ HTTP/1.1\r\nHost: evil", "/\u0000", "/%zz", "/\u00e9", LONG)
    ),
    *(
        Row("SERVICE_80_CHECK_HTTP_METHOD", value, NOT_REGISTERED)
        for value in ("GET / HTTP/1.1\r\n", "G T", LONG)
    ),
    *(
        Row("SERVICE_80_CHECK_HEADER", value, NOT_REGISTERED)
        for value in (
            '{"Host": ', "[]", "5", '{"a": 5}', '{"a": "b\\r\\nc: d"}', '{"a b": "c"}',
            "[" * 4000, LONG,
        )
    ),
    *(
        Row("SERVICE_80_CHECK_INTERVAL", value, NOT_REGISTERED)
        for value in ("99999999999h", "0s", "-1s", "1e9s", "10", "9" * 10_000)
    ),
    Row("SERVICE_80_CHECK_INITIAL_STATUS", "green", NOT_REGISTERED),
    *(
        Row(f"SERVICE_80_{word}", value, "that port is not registered: `NotSupported`")
        for word in ("NAMESPACE", "PARTITION")
        for value in ("a/b", "*")
    ),
    Row("SERVICE_80_CHECK_SCRIPT", "rm -rf /", CHECK_NOT_RUN),
    *(Row("SERVICE_80_NOTE", value, NOT_IN_META) for value in ("a\u0000", "a\nb", LONG)),
    *(
        Row(key, "x", NOT_IN_META)
        for key in ("SERVICE_80_CONSUL_NGINX_POD_UID", "SERVICE_80_CONSUL-X", "SERVICE_80_A.B")
    ),
    *(
        Row(key, "vault", WITHOUT_EFFECT)
        for key in ("SERVICE_080_NAME", "SERVICE_99999999999999999999_NAME", "SERVICE_90-70_NAME")
    ),
]  # fmt: skip

TABLES = {
    "Instances": INSTANCES,
    "Answers": ANSWERS,
    "Fields of custom resources": RESOURCES,
    "What belongs to others": ACTS,
    "The operator's policy file": POLICIES,
    "Annotations of Pods": ANNOTATIONS,
}


def written(rows: list[Row]) -> Iterator[str]:
    """Lines of the document: what happens alike to values of one field is one line."""
    for (field, outcome), group in groupby(rows, key=lambda row: (row.field, row.outcome)):
        yield f"| `{field}` | {', '.join(shown(row.value) for row in group)} | {outcome} |"


def changed(raw: Any, path: str, value: Any) -> Any:
    """``raw`` with another value, or none, at a path such as ``Checks[0].Status``."""
    keys: list[Any] = [
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)
    ]
    result = parent = copy.deepcopy(raw)
    for key in keys[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[keys[-1]]
    else:
        parent[keys[-1]] = value
    return result


_HARMLESS = {
    "smap": {
        "loadBalancerRef": {"name": "edge"},
        "listener": "http",
        "hostnames": ["shop.example.com"],
        "path": {"type": "Prefix", "value": "/"},
        "match": {
            "methods": ["GET"],
            "headers": [{"name": "X-A", "value": "a"}],
            "queryParameters": [{"name": "a", "value": "b"}],
        },
        "backends": [{"service": "web", "tags": ["a"], "datacenter": "dc1"}],
        "basicAuth": {"secretRef": {"name": "admins"}},
    },
    "nlb": {
        "listeners": [{"name": "http", "port": 80}],
        "template": {"configMapRef": {"name": "a"}},
        **{name: {} for name in ("consul", "reload", "deployment", "service")},
    },
}


def spec_of(row: Row) -> tuple[str, Any]:
    """Short name of a kind, and a harmless specification of it with the row's value."""
    kind, path = row.field.split(".spec.", 1)
    return kind, changed(_HARMLESS[kind], path, row.value)
