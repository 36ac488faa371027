"""Durations as Kubernetes' Gateway API writes them (GEP-2257): ``500ms``, ``2s``, ``1m30s``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)", re.ASCII)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MAX_LENGTH = 16


def seconds(text: str) -> float:
    """``text``, which matches ``PATTERN``, in seconds."""
    return round(sum(int(n) * _SECONDS[unit] for n, unit in _PART.findall(text)), 3)


@dataclass(frozen=True, kw_only=True)
class Between:
    """Annotation of a field that holds a duration within bounds; the CRD checks them too."""

    low: str
    high: str

    @property
    def _message(self) -> str:
        return f"must be from {self.low} to {self.high}"

    def _checked(self, text: str) -> str:
        if not seconds(self.low) <= seconds(text) <= seconds(self.high):
            raise ValueError(self._message)
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """How pydantic validates it."""
        text = core_schema.str_schema(pattern=PATTERN, max_length=_MAX_LENGTH)
        return core_schema.no_info_after_validator_function(self._checked, text)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """How the API server validates it."""
        rule = (
            f"duration(self) >= duration('{self.low}') && duration(self) <= duration('{self.high}')"
        )
        return {
            **handler(schema),
            "x-kubernetes-validations": [{"rule": rule, "message": self._message}],
        }
