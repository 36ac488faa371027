"""Objects as the API server has them, and such that it is given, over one kept connection.

Tests look many times a second, most of them from a loop that waits. kubectl would be a process for
each look: a tenth of a second, half of it a processor's, which the operator then lacks.
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from base64 import b64decode
from functools import cache
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from cluster.harness.report import HarnessError

if TYPE_CHECKING:
    from pathlib import Path

_OURS = "/apis/consul-nginx.dev/v1alpha1"
_RIGHTS = "/apis/rbac.authorization.k8s.io/v1"
# By the words that kubectl takes.
_KINDS = {
    "configmap": ("/api/v1", "configmaps"),
    "daemonset": ("/apis/apps/v1", "daemonsets"),
    "deployment": ("/apis/apps/v1", "deployments"),
    "lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "namespace": ("/api/v1", "namespaces"),
    "nlb": (_OURS, "loadbalancers"),
    "node": ("/api/v1", "nodes"),
    "pod": ("/api/v1", "pods"),
    "poddisruptionbudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "role": (_RIGHTS, "roles"),
    "rolebinding": (_RIGHTS, "rolebindings"),
    "secret": ("/api/v1", "secrets"),
    "service": ("/api/v1", "services"),
    "serviceaccount": ("/api/v1", "serviceaccounts"),
    "smap": (_OURS, "servicemappings"),
}
_AS_KUBECTL = {"fieldManager": "test-cluster", "force": "true", "fieldValidation": "Strict"}
_TIMEOUT_S = 30.0


class Reader:
    """Asks as administrator; what can't be read is a ``HarnessError``, as with kubectl."""

    def __init__(self, kubeconfig: Path) -> None:
        described = json.loads(kubeconfig.read_text())
        [cluster], [user] = described["clusters"], described["users"]
        address = urlsplit(cluster["cluster"]["server"])
        self._lock = threading.Lock()
        self._connection = HTTPSConnection(
            address.hostname or "",
            address.port,
            timeout=_TIMEOUT_S,
            context=_context(cluster["cluster"], user["user"]),
        )

    def one(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any]:
        """One object."""
        return self._get(f"{_path(kind, namespace)}/{name}")

    def all(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """The objects of a kind, in a namespace or in all; those that the selectors match."""
        query = urlencode({"labelSelector": labels, "fieldSelector": fields})
        found: list[dict[str, Any]] = self._get(f"{_path(kind, namespace)}?{query}")["items"]
        return found

    def apply(self, kind: str, raw: dict[str, Any]) -> None:
        """Apply an object on the server's side, as ``Kubectl.apply`` does."""
        refused = self._apply(kind, raw)
        if refused:
            raise HarnessError(refused)

    def refusal(self, kind: str, raw: dict[str, Any]) -> str:
        """Why the API server would not take an object; empty when it would, and nothing is written.

        As ``kubectl apply --server-side --dry-run=server --validate=strict`` asks it.
        """
        return self._apply(kind, raw, dryRun="All")

    def _apply(self, kind: str, raw: dict[str, Any], **query: str) -> str:
        query = {**_AS_KUBECTL, **query}
        path = _path(kind, raw["metadata"]["namespace"])
        path = f"{path}/{raw['metadata']['name']}?{urlencode(query)}"
        status, text = self._ask("PATCH", path, body=raw)
        return "" if status < 300 else str(json.loads(text)["message"])

    def _get(self, path: str) -> dict[str, Any]:
        status, text = self._ask("GET", path)
        if status != 200:
            raise HarnessError(f"GET {path}: {status} {text[:500].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found

    def _ask(self, method: str, path: str, *, body: Any = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        with self._lock:
            try:
                return self._send(method, path, data)
            except (OSError, HTTPException):
                # The API server may have closed what was not used for a while: once more, anew.
                self._connection.close()
                try:
                    return self._send(method, path, data)
                except (OSError, HTTPException) as error:
                    self._connection.close()
                    raise HarnessError(f"{method} {path}: {error!r}") from error

    def _send(self, method: str, path: str, data: bytes | None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}
        self._connection.request(method, path, body=data, headers=headers)
        with self._connection.getresponse() as answer:
            return answer.status, answer.read()


@cache
def reader(kubeconfig: Path) -> Reader:
    """The one of a kubeconfig."""
    return Reader(kubeconfig)


def _path(kind: str, namespace: str) -> str:
    group, plural = _KINDS[kind]
    return f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"


def _context(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    authority = b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as both:
        for part in ("certificate", "key"):
            both.write(b64decode(user[f"client-{part}-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return context
