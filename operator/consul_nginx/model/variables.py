"""Variables of nginx's that people may use in text, and how that text is taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

# What tells of a request, its client and its way. None runs anything, none tells of the pod's own
# files or environment.
VARIABLES = frozenset(
    {
        "args", "body_bytes_sent", "bytes_sent", "connection",
        "connection_requests", "content_length", "content_type", "host", "hostname", "http2",
        "http_host", "http_referer", "http_user_agent", "http_x_forwarded_for", "http_x_request_id",
        "msec", "pid", "proxy_add_x_forwarded_for", "proxy_protocol_addr", "proxy_protocol_port",
        "query_string", "realip_remote_addr", "remote_addr", "remote_port", "remote_user",
        "request", "request_id", "request_length", "request_method", "request_time", "request_uri",
        "scheme", "sent_http_content_type", "server_addr", "server_name", "server_port",
        "server_protocol", "ssl_cipher", "ssl_protocol", "ssl_server_name", "status", "tcpinfo_rtt",
        "time_iso8601", "time_local", "upstream_addr", "upstream_bytes_received",
        "upstream_bytes_sent", "upstream_connect_time", "upstream_header_time",
        "upstream_response_length", "upstream_response_time", "upstream_status", "uri",
    }
)  # fmt: skip

# nginx decodes these: a client puts line breaks into them, with which a header would end and one of
# the client's own begin. Logs escape them.
_DECODED = frozenset({"remote_user", "ssl_server_name", "uri"})
HEADER_VARIABLES = VARIABLES - _DECODED

# Those that nginx's stream module knows, too.
STREAM_VARIABLES = frozenset(
    {
        "bytes_received", "bytes_sent", "connection", "hostname", "msec", "pid", "protocol",
        "proxy_protocol_addr", "proxy_protocol_port", "realip_remote_addr", "remote_addr",
        "remote_port", "server_addr", "server_port", "session_time", "ssl_cipher",
        "ssl_preread_server_name", "ssl_protocol", "ssl_server_name", "status", "time_iso8601",
        "time_local", "upstream_addr", "upstream_bytes_received", "upstream_bytes_sent",
        "upstream_connect_time", "upstream_first_byte_time", "upstream_session_time",
    }
)  # fmt: skip

_PART = re.compile(r"\$\$|\$\{([a-z0-9_]{1,40})\}|\$([a-z0-9_]{1,40})|\$|[^$]+", re.ASCII)


@dataclass(frozen=True)
class Variable:
    """A variable, by its name without the dollar sign."""

    name: str


def parts(text: str) -> Iterator[str | Variable]:
    """Literal text and variables, in order; ``$$`` is a literal dollar sign, a lone ``$`` too."""
    for match in _PART.finditer(text):
        name = match.group(1) or match.group(2)
        if name is not None:
            yield Variable(name)
        else:
            yield "$" if match.group() == "$$" else match.group()


def unknown_variable(text: str, *, known: Set[str] = VARIABLES) -> str | None:
    """The first variable of ``text`` that is not ``known``, as it is written; also a lone ``$``."""
    for match in _PART.finditer(text):
        name = match.group(1) or match.group(2)
        if (name is not None and name not in known) or match.group() == "$":
            return match.group()
    return None
