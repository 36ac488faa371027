"""The words that mean something after ``SERVICE_`` or ``SERVICE_<port>_``; others are Meta."""

from __future__ import annotations

from dataclasses import dataclass

CHECK_PREFIX = "check_"


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word: an example of its value, what it does, and what holds without it."""

    name: str
    example: str
    meaning: str
    default: str = ""


VOCABULARY = tuple(
    Word(name=name, example=example, meaning=meaning, default=default)
    for name, example, meaning, default in (
        (
            "NAME",
            "my-web-server",
            "Name of the service in Consul. A Pod that offers more than one port gets `-<port>` "
            "appended, unless the key names the port; an empty key that names the port means the "
            "image's name, without `-<port>`.",
            "last part of the image, without tag",
        ),
        (
            "ID",
            "web-1",
            "Replaces the ID. Further ports that share it get `-<port>`; a Pod that a controller "
            "made gets `-<pod name>`, unless `$(POD_NAME)` or `$(POD_ORDINAL)` is in it.",
            "`<cluster>:<namespace>/<pod>:<port>[:udp]`",
        ),
        (
            "TAGS",
            "v2,blue",
            "Tags, separated by commas; `\\,` is a comma. UDP ports get `udp`, and all get the "
            "operator's own tags.",
            "",
        ),
        ("IGNORE", "true", "Any value that is not empty leaves the port out, `false` too.", ""),
        ("IP", "10.1.2.3", "Address that is registered: an IP address in an allowed network.", ""),
        ("PORT", "8080", "Port that is registered; names the port of a Pod that has none.", ""),
        ("WEIGHT", "10", "Weight while passing, 1 to 65535.", "1"),
        (
            "ENABLE_TAG_OVERRIDE",
            "true",
            "Others may change the tags in Consul's catalog, until something else of the "
            "registration changes.",
            "false",
        ),
        (
            "NAMESPACE",
            "team-a",
            "Not supported (Consul Enterprise): a port that has it is not registered.",
            "",
        ),
        ("PARTITION", "dmz", "Not supported (Consul Enterprise): the same.", ""),
        ("CHECK_HTTP", "/health", "Check: GET this path; 2xx passes.", ""),
        ("CHECK_HTTP_METHOD", "HEAD", "Another method for it.", "GET"),
        ("CHECK_HTTPS", "/health", "Check: the same over TLS.", ""),
        ("CHECK_HTTPS_METHOD", "HEAD", "Another method for it.", "GET"),
        (
            "CHECK_HEADER",
            '{"Host": "shop.example.com"}',
            "Headers for `CHECK_HTTP` and `CHECK_HTTPS`: a JSON object; a value may be a list.",
            "",
        ),
        ("CHECK_CMD", "/check.sh", "Not run: the Pod's readiness decides.", ""),
        ("CHECK_SCRIPT", "nc $SERVICE_IP 80", "Not run: the Pod's readiness decides.", ""),
        (
            "CHECK_TTL",
            "30s",
            "The Pod's readiness decides; mode `agent`: as a TTL check of at least 10m that the "
            "operator refreshes.",
            "",
        ),
        ("CHECK_TCP", "true", "Check: a connection is taken. Any value switches it on.", ""),
        ("CHECK_GRPC", "true", "Check: gRPC's health protocol. Any value switches it on.", ""),
        ("CHECK_GRPC_USE_TLS", "true", "`CHECK_GRPC` over TLS.", "false"),
        (
            "CHECK_TLS_SKIP_VERIFY",
            "true",
            "`CHECK_HTTPS`, and `CHECK_GRPC` over TLS, take any certificate.",
            "false",
        ),
        ("CHECK_INTERVAL", "1m30s", "Time between two checks.", "10s"),
        ("CHECK_TIMEOUT", "2s", "Time that one check may take.", "Consul's: 10s"),
        (
            "CHECK_INITIAL_STATUS",
            "passing",
            "`passing`, `warning` or `critical` until the first check, once the Pod is ready.",
            "critical",
        ),
        (
            "CHECK_DEREGISTER_AFTER",
            "10m",
            "Consul removes what has been critical for so long, at least 1m; it is registered anew "
            "while the Pod lives.",
            "never",
        ),
    )
)

WORDS = frozenset(word.name.lower() for word in VOCABULARY)
