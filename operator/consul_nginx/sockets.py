"""Sockets that notice within seconds that nobody is there any more.

A machine that loses its power or its cable closes nothing. A blocking query of Consul's that waits
for one would learn so when its time is over, after five minutes, a watch of Kubernetes' when it was
silent for longer than bookmarks take, and a request that is sent on a kept connection when the
kernel has tried again for a quarter of an hour.
"""

from __future__ import annotations

import socket
from typing import Any

# As long as Consul itself takes to find a node dead.
SILENT_S = 3
PROBES = 3
PROBE_EVERY_S = 1

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

# By name: not every system has all of them, and the commands run on any.
_TCP_OPTIONS = (
    ("TCP_KEEPIDLE", SILENT_S),
    ("TCP_KEEPINTVL", PROBE_EVERY_S),
    ("TCP_KEEPCNT", PROBES),
    # Of what was sent; where it is unanswered there are no probes.
    ("TCP_USER_TIMEOUT", 1000 * (SILENT_S + PROBES * PROBE_EVERY_S)),
)


def watchful_socket(address: AddressInfo) -> socket.socket:
    """A socket for ``address`` whose connection breaks when the other side is silent too long.

    A side that lives and has nothing to say is not silent: its kernel answers the probes.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS:
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
