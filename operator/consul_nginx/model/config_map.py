"""A key of a ConfigMap, by which a LoadBalancer names a template of its own."""

from __future__ import annotations

from dataclasses import dataclass

TEMPLATE_LABEL = "consul-nginx.dev/template"
DEFAULT_KEY = "template.conf.j2"


@dataclass(frozen=True, kw_only=True, order=True)
class ConfigMapKey:
    """A key of a ConfigMap in the LoadBalancer's namespace."""

    name: str
    key: str = DEFAULT_KEY
