"""A LoadBalancer's own templates: where they are used, and what became of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from consul_nginx.model.config_map import ConfigMapKey
from consul_nginx.model.nginx import Layer


@dataclass(frozen=True, kw_only=True, order=True)
class TemplateUse:
    """One use of a template: all of a layer (``listener`` empty), or one listener.

    ``field`` is where the LoadBalancer says so.
    """

    field: str
    layer: Layer
    listener: str
    source: ConfigMapKey

    @property
    def id(self) -> str:
        """For names of files, which no user's text gets into."""
        return hashlib.sha256(f"{self.layer}\0{self.listener}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class TemplateProblem:
    """Why a template has no text at present, in words for a condition."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class OwnText:
    """A template with its text for nginx; None and a ``problem`` when there is none at present."""

    use: TemplateUse
    text: str | None = None
    problem: TemplateProblem | None = None
