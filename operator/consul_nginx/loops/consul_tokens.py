"""ACL tokens of LoadBalancers that name a Consul of their own."""

from __future__ import annotations

from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.kube.client import KubeClient
from consul_nginx.kube.errors import KubeError, KubeRefused
from consul_nginx.kube.secrets import read_secret
from consul_nginx.model.kubernetes import ObjectRef


class ConsulTokens:
    """Reads them from Secrets, in Consul's terms of what goes wrong."""

    def __init__(self, *, kube: KubeClient) -> None:
        self._kube = kube

    async def read(self, namespace: str, name: str, key: str) -> str:
        """The token; raises ``ConsulRefused`` or ``ConsulUnavailable``."""
        ref = ObjectRef(namespace=namespace, name=name)
        try:
            return await read_secret(kube=self._kube, ref=ref, key=key)
        except KubeRefused as error:
            raise ConsulRefused(f"spec.consul.tokenSecretRef: {error}") from error
        except KubeError as error:
            raise ConsulUnavailable(f"spec.consul.tokenSecretRef: {error}") from error
