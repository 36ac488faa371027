"""TLS of a listener, as it was declared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consul_nginx.model.authorities import Authority


class TlsMode(StrEnum):
    """Who answers the handshake: nginx, or the backend that the client's SNI leads to."""

    TERMINATE = "Terminate"
    PASSTHROUGH = "Passthrough"


class TlsVersion(StrEnum):
    """The oldest version that is spoken, in nginx's words."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


@dataclass(frozen=True, kw_only=True)
class ListenerTls:
    """``secrets`` are names in the LoadBalancer's namespace; the first one is the default.

    ``client_authorities`` empty: clients need no certificate.
    """

    mode: TlsMode
    secrets: tuple[str, ...]
    minimum: TlsVersion
    client_authorities: tuple[Authority, ...] = ()
