"""How kopf's own session logs in: as the official client does, with the same verification.

kopf makes that session itself, without the sockets that ours have (``sockets.py``). With one that
it was given, a watch that ended when a CRD went left kopf waiting for other credentials for ever
(seen with 1.45.2). So a silent API server is noticed by our own list of both kinds, every minute.
"""

from __future__ import annotations

import dataclasses
import ssl
from typing import Any

import kopf


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


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Service account in a pod, kubeconfig elsewhere."""
    found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    if found is None:
        return None
    fields = {item.name: getattr(found, item.name) for item in dataclasses.fields(found)}
    return LenientConnectionInfo(**fields)
