"""From pydantic's JSON schema to the structural schema that a CRD needs.

Structural means: no ``$ref``, no ``anyOf`` for optional values, no titles, the type of every
node stated (Kubernetes: "Specifying a structural schema").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_KEPT = (
    "default", "description", "enum", "format", "items", "maxItems", "maxLength", "maxProperties",
    "maximum", "minItems", "minLength", "minimum", "pattern", "properties", "required", "type",
)  # fmt: skip


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Structural schema of ``model``; raises ``TypeError`` for a construct that has none."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, definitions=schema.get("$defs", {}))


def _structural(node: Mapping[str, Any], *, definitions: Mapping[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions=definitions)
    kept = {
        key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")
    }
    if isinstance(kept.get("default"), Mapping):
        # A field that is left out has no value; null is one, and of no type of ours.
        kept["default"] = {k: v for k, v in kept["default"].items() if v is not None}
    if "const" in node:
        kept["enum"] = [node["const"]]
    if "properties" in kept:
        kept["properties"] = {
            name: _structural(child, definitions=definitions)
            for name, child in kept["properties"].items()
        }
    if "items" in kept:
        kept["items"] = _structural(kept["items"], definitions=definitions)
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        kept["additionalProperties"] = _structural(extra, definitions=definitions)
        # Server-side apply makes null of a map that loses its last key; the API server accepts
        # that for a field with a default only.
        kept.setdefault("default", {})
    if "type" not in kept and "x-kubernetes-int-or-string" not in kept:
        raise TypeError(f"no structural type for {dict(node)}")
    return kept


def _resolved(node: Mapping[str, Any], *, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Inline a reference, and an optional value's only real alternative."""
    resolved = dict(node)
    options = resolved.pop("anyOf", None)
    if options is not None:
        real = [option for option in options if option.get("type") != "null"]
        if len(real) != 1:
            raise TypeError(f"a union has no structural schema: {options}")
        if resolved.get("default", ...) is None:
            del resolved["default"]
        resolved = {**real[0], **resolved}
    reference = resolved.pop("$ref", None)
    if reference is not None:
        definition = definitions[reference.removeprefix("#/$defs/")]
        resolved = {**_resolved(definition, definitions=definitions), **resolved}
    return resolved
