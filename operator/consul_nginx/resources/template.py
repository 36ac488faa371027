"""Where a LoadBalancer names templates of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from consul_nginx.model.config_map import DEFAULT_KEY, TEMPLATE_LABEL, ConfigMapKey
from consul_nginx.resources.base import SpecModel

ConfigMapName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
]
ConfigMapDataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]


class ConfigMapKeyRef(SpecModel):
    """A key of a ConfigMap in the LoadBalancer's namespace."""

    name: Annotated[
        ConfigMapName,
        Field(description=f'Name of the ConfigMap, with the label {TEMPLATE_LABEL}: "true".'),
    ]
    key: Annotated[ConfigMapDataKey, Field(description="Key whose value is the template.")] = (
        DEFAULT_KEY
    )


class Template(SpecModel):
    """A Jinja2 template; docs/own-templates.md."""

    config_map_ref: Annotated[
        ConfigMapKeyRef, Field(description="ConfigMap that the template stands in.")
    ]


def config_map_key(template: Template | None) -> ConfigMapKey | None:
    """For decisions."""
    if template is None:
        return None
    return ConfigMapKey(name=template.config_map_ref.name, key=template.config_map_ref.key)
