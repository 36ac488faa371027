"""Whose ServiceMappings a LoadBalancer or one of its listeners takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consul_nginx.model import namespaces as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import LabelValue


class NamespaceSelector(SpecModel):
    """Chooses namespaces by their labels."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Field(max_length=16, description="Labels that a namespace must have, all of them."),
    ] = Field(default_factory=dict)


class AllowedNamespaces(SpecModel):
    """Whose ServiceMappings are taken."""

    come_from: Annotated[
        Literal["Same", "All", "Selector"],
        Field(
            alias="from",
            description=(
                "Same: the LoadBalancer's own namespace. All: every one. Selector: those with "
                "the labels of selector."
            ),
        ),
    ] = "Same"
    selector: Annotated[
        NamespaceSelector, Field(description="Which namespaces, with from: Selector.")
    ] = NamespaceSelector()


def allowed_namespaces(spec: AllowedNamespaces) -> model.AllowedNamespaces:
    """The same for decisions."""
    return model.AllowedNamespaces(
        come_from=model.NamespacesFrom(spec.come_from), match_labels=spec.selector.match_labels
    )
