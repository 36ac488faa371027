"""Labels of namespaces, by which a LoadBalancer may choose whose mappings it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Labels = Mapping[str, str]


class Namespaces:
    """What is known of them."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[], None]] = []
        self._labels: dict[str, Labels] | None = None

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called when labels are news."""
        self._subscribers.append(changed)

    def labels(self) -> Mapping[str, Labels] | None:
        """Labels by namespace; None as long as namespaces could not be read."""
        return self._labels

    def put(self, raw: Mapping[str, Any]) -> None:
        """A namespace is there."""
        self._set({**(self._labels or {}), _name(raw): _labels(raw)})

    def remove(self, raw: Mapping[str, Any]) -> None:
        """A namespace was deleted."""
        labels = dict(self._labels or {})
        labels.pop(_name(raw), None)
        self._set(labels)

    def replace(self, items: Iterable[Mapping[str, Any]]) -> None:
        """A complete list."""
        self._set({_name(raw): _labels(raw) for raw in items})

    def _set(self, labels: dict[str, Labels]) -> None:
        if labels != self._labels:
            self._labels = labels
            for changed in self._subscribers:
                changed()


def _name(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"]["name"])


def _labels(raw: Mapping[str, Any]) -> Labels:
    return dict(raw["metadata"].get("labels") or {})
