"""What all our custom resources share: group, version, and how a field is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from consul_nginx.model.kubernetes import GROUP, VERSION, Meta, ObjectRef
from consul_nginx.model.verdict import Condition, Problem, rejected

API_VERSION = f"{GROUP}/{VERSION}"


class SpecModel(BaseModel):
    """Base of every model below ``spec``: camelCase outside, nothing undeclared, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True
    )


class FieldError(ValueError):
    """A model's rule that speaks against one of its fields, named as it is in YAML."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Invalid:
    """An object whose specification can't be used, with everything that is wrong with it."""

    meta: Meta
    problems: tuple[Problem, ...]


def invalid(item: Invalid) -> Condition:
    """``Accepted`` of such an object."""
    return rejected(reason="Invalid", message="; ".join(str(problem) for problem in item.problems))


def parse_meta(raw: Mapping[str, Any]) -> Meta:
    """Metadata of an object as the API server returns it."""
    metadata = raw["metadata"]
    return Meta(
        ref=ObjectRef(namespace=metadata["namespace"], name=metadata["name"]),
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        created=metadata["creationTimestamp"],
    )
