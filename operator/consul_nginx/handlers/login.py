"""How kopf's own session logs in: as the official client does, with the same verification.

It has connections that notice within seconds that the API server's machine is gone, as all of ours.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, fields
from typing import Any

import aiohttp
import kopf

from consul_nginx.sockets import watchful_socket


class LenientConnectionInfo(kopf.ConnectionInfo):
    """Verifies certificates, but without ``VERIFY_X509_STRICT``.

    Python ≥ 3.13 sets that flag by default and refuses the CAs of many clusters, which lack a key
    usage extension.
    """

    def as_ssl_context(self) -> ssl.SSLContext:
        """Context as kopf makes it, minus the one flag."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


@dataclass(frozen=True, kw_only=True)
class Session(kopf.AiohttpSession):
    """Equal for equal credentials: kopf tries none again that the API server refused."""

    credentials: LenientConnectionInfo
    aiohttp_session: aiohttp.ClientSession = field(compare=False)


async def login(**kwargs: Any) -> Session | None:
    """Service account in a pod, kubeconfig elsewhere. kopf closes the session."""
    found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    if found is None:
        return None
    known = LenientConnectionInfo(
        **{item.name: getattr(found, item.name) for item in fields(found)}
    )
    connector = aiohttp.TCPConnector(
        limit=0, ssl=known.as_ssl_context(), socket_factory=watchful_socket
    )
    return Session(
        server=known.server,
        priority=known.priority,
        default_namespace=known.default_namespace,
        expiration=known.expiration,
        credentials=known,
        aiohttp_session=aiohttp.ClientSession(
            connector=connector,
            headers=known.as_http_headers(),
            proxy=known.proxy_url,
            trust_env=known.trust_env,
        ),
    )
