"""The official client's asyncio dynamic API, narrowed to what the operator does with it.

Kinds are known beforehand, so nothing is discovered and no cache file is written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import ApiException, RESTClientObject
from kubernetes.aio.dynamic import DynamicClient, Resource

from consul_nginx.kube.errors import KubeConflict, KubeRefused, KubeUnavailable
from consul_nginx.kube.metering import trace_config
from consul_nginx.model.kubernetes import GROUP, VERSION, ObjectRef
from consul_nginx.sockets import watchful_socket

FIELD_MANAGER = "consul-nginx-operator"
REQUEST_TIMEOUT_S = 15.0
PAGE = 500

Raw = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object and where the API server has it."""

    kind: str
    plural: str
    version: str = "v1"
    group: str = ""
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in an object's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


CONFIG_MAP = Kind(kind="ConfigMap", plural="configmaps")
POD = Kind(kind="Pod", plural="pods")
SERVICE = Kind(kind="Service", plural="services")
LEASE = Kind(kind="Lease", plural="leases", group="coordination.k8s.io")
EVENT = Kind(kind="Event", plural="events")
SERVICE_ACCOUNT = Kind(kind="ServiceAccount", plural="serviceaccounts")
POD_DISRUPTION_BUDGET = Kind(
    kind="PodDisruptionBudget", plural="poddisruptionbudgets", group="policy"
)
DEPLOYMENT = Kind(kind="Deployment", plural="deployments", group="apps")
DAEMON_SET = Kind(kind="DaemonSet", plural="daemonsets", group="apps")
SECRET = Kind(kind="Secret", plural="secrets")
NAMESPACE = Kind(kind="Namespace", plural="namespaces", namespaced=False)
ROLE = Kind(kind="Role", plural="roles", group="rbac.authorization.k8s.io")
ROLE_BINDING = Kind(kind="RoleBinding", plural="rolebindings", group="rbac.authorization.k8s.io")
LOAD_BALANCER = Kind(kind="LoadBalancer", plural="loadbalancers", group=GROUP, version=VERSION)
SERVICE_MAPPING = Kind(
    kind="ServiceMapping", plural="servicemappings", group=GROUP, version=VERSION
)
DATA_PLANE_KINDS = {
    kind.kind: kind
    for kind in (
        SERVICE,
        SERVICE_ACCOUNT,
        DEPLOYMENT,
        DAEMON_SET,
        ROLE,
        ROLE_BINDING,
        POD_DISRUPTION_BUDGET,
    )
}

CHILD_KINDS = (CONFIG_MAP, *DATA_PLANE_KINDS.values())


class KubeClient:
    """Objects as plain mappings; errors as in ``errors.py``; 404 on reading as None.

    ``may_write`` is called before every write and raises when there must be none.
    """

    def __init__(self, *, api: ApiClient, may_write: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._dynamic = DynamicClient(api)
        self._may_write = may_write

    def guarded(self, may_write: Callable[[], None]) -> KubeClient:
        """The same connection for somebody whose writes depend on ``may_write``."""
        return KubeClient(api=self._api, may_write=may_write)

    async def get(self, kind: Kind, ref: ObjectRef) -> Raw | None:
        """Read one object; None when there is none."""
        try:
            return await self._call(
                self._resource(kind).get(name=ref.name, namespace=ref.namespace, **_OPTIONS)
            )
        except _NotFound:
            return None

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Raw:
        """List object: ``items`` and ``metadata.resourceVersion``."""
        return await self._call(
            self._resource(kind).get(
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                **_OPTIONS,
            )
        )

    async def pages(self, kind: Kind, *, namespace: str | None = None) -> AsyncIterator[Raw]:
        """List objects, ``PAGE`` at a time, all as of one time.

        ``KubeUnavailable``: that time is too long ago for the API server; list anew.
        """
        following = None
        while True:
            try:
                page = await self._call(
                    self._resource(kind).get(
                        namespace=namespace, limit=PAGE, _continue=following, **_OPTIONS
                    )
                )
            except _Expired as error:
                raise KubeUnavailable(str(error)) from error
            yield page
            following = page["metadata"].get("continue")
            if not following:
                return

    async def create(self, kind: Kind, body: Raw) -> Raw:
        """Create; raises ``KubeConflict`` when it exists."""
        self._may_write()
        return await self._call(
            self._resource(kind).create(body=dict(body), field_manager=FIELD_MANAGER, **_OPTIONS)
        )

    async def replace(self, kind: Kind, body: Raw) -> Raw:
        """Replace the version that ``metadata.resourceVersion`` names, else ``KubeConflict``."""
        if "resourceVersion" not in body["metadata"]:
            raise ValueError("a replacement names the resourceVersion that it replaces")
        self._may_write()
        try:
            return await self._call(
                self._resource(kind).replace(
                    body=dict(body),
                    namespace=body["metadata"]["namespace"],
                    field_manager=FIELD_MANAGER,
                    **_OPTIONS,
                )
            )
        except _NotFound as error:
            raise KubeConflict(str(error)) from error

    async def write(self, kind: Kind, body: Raw) -> Raw:
        """Replace the version that the body names, or create when it names none."""
        if "resourceVersion" in body["metadata"]:
            return await self.replace(kind, body)
        return await self.create(kind, body)

    async def apply(self, kind: Kind, body: Raw) -> Raw:
        """Server-side apply with our one field manager; what others set on it is theirs.

        With a ``metadata.resourceVersion`` in the body only that version is changed, else
        ``KubeConflict``.
        """
        self._may_write()
        return await self._call(
            self._resource(kind).server_side_apply(
                body=dict(body),
                namespace=body["metadata"]["namespace"],
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
                **_OPTIONS,
            )
        )

    async def apply_status(self, kind: Kind, body: Raw) -> Raw | None:
        """Server-side apply of the status of the version that the body names.

        None when the object is gone, ``KubeConflict`` when it has another version.
        """
        self._may_write()
        try:
            return await self._call(
                self._resource(kind).status.server_side_apply(
                    body=dict(body),
                    name=body["metadata"]["name"],
                    namespace=body["metadata"]["namespace"],
                    field_manager=FIELD_MANAGER,
                    force_conflicts=True,
                    **_OPTIONS,
                )
            )
        except _NotFound:
            return None

    async def delete(self, kind: Kind, raw: Raw) -> None:
        """Delete exactly the version ``raw`` of an object, else ``KubeConflict``."""
        self._may_write()
        metadata = raw["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
        with suppress(_NotFound):
            await self._call(
                self._resource(kind).delete(
                    name=metadata["name"],
                    namespace=metadata["namespace"],
                    body=body,
                    **_OPTIONS,
                )
            )

    async def serves(self, kinds: Iterable[Kind]) -> bool:
        """Whether the API server's discovery knows all of ``kinds``, as after CRDs are applied."""
        for kind in kinds:
            try:
                found = await self._call(
                    self._dynamic.request("get", f"/apis/{kind.api_version}", **_OPTIONS)
                )
            except _NotFound:
                return False
            if kind.plural not in {item["name"] for item in found["resources"]}:
                return False
        return True

    def _resource(self, kind: Kind) -> Any:
        return Resource(
            client=self._dynamic,
            prefix="apis" if kind.group else "api",
            group=kind.group,
            api_version=kind.version,
            kind=kind.kind,
            name=kind.plural,
            namespaced=kind.namespaced,
            subresources={
                "status": {
                    "name": f"{kind.plural}/status",
                    "kind": kind.kind,
                    "namespaced": True,
                }
            },
        )

    async def _call(self, request: Any) -> Raw:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer = await request
                result: Raw = await answer.json()
        except ApiException as error:
            raise _translated(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeUnavailable(f"{type(error).__name__}: {error}") from error
        return result


class _NotFound(KubeRefused):
    pass


class _Expired(KubeRefused):
    pass


# serialize=False: the raw answer; wrapping every list in ResourceInstance costs twice the time.
_OPTIONS: Mapping[str, Any] = {"serialize": False, "_request_timeout": REQUEST_TIMEOUT_S}


def _translated(error: ApiException) -> KubeUnavailable | KubeConflict | KubeRefused:
    words = error.summary() if hasattr(error, "summary") else str(error.reason)
    if isinstance(words, bytes):
        words = words.decode(errors="replace")
    match error.status:
        case 404:
            return _NotFound(words)
        case 409:
            return KubeConflict(words)
        case 410:
            return _Expired(words)
        case None | 429 | 502 | 503 | 504:
            return KubeUnavailable(words)
    # 500 too: so the server answers to an apply with a quantity that it can't convert.
    return KubeRefused(words)


class _Rest(RESTClientObject):  # type: ignore[misc] # the client has no types
    """Notices within seconds that the API server's machine is gone."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize, ssl=self.ssl_context, socket_factory=watchful_socket
        )


@asynccontextmanager
async def connect() -> AsyncIterator[KubeClient]:
    """Connect with the pod's service account, or with the kubeconfig outside a cluster.

    Certificates are verified, but not with ``VERIFY_X509_STRICT``, which Python ≥ 3.13 sets by
    default and which refuses the CAs of many clusters. Raises ``KubeRefused`` without either.
    """
    settings = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(client_configuration=settings)
    else:
        try:
            await config.load_kube_config(client_configuration=settings)
        except config.ConfigException as error:
            raise KubeRefused(f"no kubeconfig to connect with: {error}") from error
    settings.disable_strict_ssl_verification = True
    settings.trace_configs = [trace_config()]
    async with ApiClient(configuration=settings) as api:
        api.rest_client = _Rest(settings)
        yield KubeClient(api=api)
