"""What the agent is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from consul_nginx.model.layout import AGENT_PORT, Layout

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class SettingsError(ValueError):
    """A variable is missing or wrong; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the agent finds its ConfigMap, its credentials and its volume."""

    configmap: str
    namespace: str
    pod: str
    api_url: str
    token_file: Path
    ca_file: Path
    root: PurePosixPath
    port: int

    @property
    def layout(self) -> Layout:
        """The shared volume."""
        return Layout(root=self.root)

    @property
    def configmaps_url(self) -> str:
        """Of the namespace."""
        return f"{self.api_url}/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def secrets_url(self) -> str:
        """Of the namespace."""
        return f"{self.api_url}/api/v1/namespaces/{self.namespace}/secrets"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment; raises ``SettingsError``."""
        account = Path(environ.get("SERVICE_ACCOUNT_DIR", _SERVICE_ACCOUNT))
        return cls(
            configmap=_name(environ, "CONFIGMAP_NAME"),
            namespace=_name(environ, "POD_NAMESPACE"),
            pod=_name(environ, "POD_NAME"),
            api_url=_api_url(environ),
            token_file=account / "token",
            ca_file=account / "ca.crt",
            root=PurePosixPath(environ.get("CONSUL_NGINX_ROOT", str(Layout().root))),
            port=_port(environ, "AGENT_PORT", default=str(AGENT_PORT)),
        )


def _required(environ: Mapping[str, str], key: str) -> str:
    value = environ.get(key, "")
    if not value:
        raise SettingsError(f"{key} is not set")
    return value


def _name(environ: Mapping[str, str], key: str) -> str:
    """A Kubernetes name: it becomes part of the API's path."""
    value = _required(environ, key)
    if not _NAME.fullmatch(value):
        raise SettingsError(f"{key}={value!r} is not a Kubernetes name")
    return value


def _port(environ: Mapping[str, str], key: str, *, default: str) -> int:
    value = environ.get(key, default)
    if not re.fullmatch(r"[0-9]{1,5}", value, re.ASCII) or not 0 < int(value) < 65536:
        raise SettingsError(f"{key}={value!r} is not a port")
    return int(value)


def _api_url(environ: Mapping[str, str]) -> str:
    """``KUBERNETES_API_URL`` (tests, proxies), else what the kubelet sets in every pod."""
    if url := environ.get("KUBERNETES_API_URL"):
        return url.rstrip("/")
    host = _required(environ, "KUBERNETES_SERVICE_HOST")
    port = _port(environ, "KUBERNETES_SERVICE_PORT", default="443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
