"""Pods out of manifests: as they are written, or as a Deployment and others would make them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Pod
from consul_nginx.registrar.pod import MalformedPodError, parse_pod

# Where those that make Pods have their template.
TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class ManifestError(ValueError):
    """It isn't a manifest that has Pods; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A Pod and the object that it stands in; ``pod.ref.name`` is empty while nobody knows it."""

    source: str
    pod: Pod


class _Loader(yaml.SafeLoader):
    """Reads times as text, as Kubernetes does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own attribute
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def pods_in(text: str, *, namespace: str) -> tuple[Found, ...]:
    """Pods of all documents in a YAML or JSON text; other kinds of objects are passed over.

    ``namespace`` is that of objects which name none. Raises ``ManifestError``, also when there is
    no Pod at all.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(f"not YAML: {' '.join(str(error).split())}") from error
    found = tuple(
        pod
        for document in documents
        if document is not None
        for item in _objects(document)
        for pod in _pods(item, namespace=namespace)
    )
    if not found:
        raise ManifestError(f"no Pod in it, and none of {', '.join(TEMPLATES)}")
    return found


def _objects(document: Any, kind: str = "") -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise ManifestError(f"{str(document)[:40]!r}: not an object of Kubernetes")
    kind = _text(document.get("kind") or kind, "kind")
    if not kind.endswith("List"):
        yield {**document, "kind": kind}
        return
    items = document.get("items") or []
    if not isinstance(items, list):
        raise ManifestError(f"{kind}: items: not a list")
    for item in items:
        yield from _objects(item, kind.removesuffix("List"))


def _pods(item: dict[str, Any], *, namespace: str) -> Iterator[Found]:
    kind = item["kind"]
    if kind != "Pod" and kind not in TEMPLATES:
        return
    metadata = _mapping(item, "metadata")
    name = _name(metadata, "name", default="")
    namespace = _name(metadata, "namespace", default=namespace)
    source = f"{kind} {namespace}/{name or '(without a name)'}"
    try:
        if kind == "Pod":
            pod = parse_pod(item)
        else:
            # A template's name is never used; a StatefulSet's first Pod stands for all.
            pod = replace(parse_pod(_template(item, kind)), controlled=True)
            name = f"{name}-{_first_ordinal(item)}" if kind == "StatefulSet" else ""
    except (MalformedPodError, ManifestError) as error:
        raise ManifestError(f"{source}: {error}") from error
    yield Found(source=source, pod=replace(pod, ref=ObjectRef(namespace=namespace, name=name)))


def _template(item: dict[str, Any], kind: str) -> dict[str, Any]:
    for field in TEMPLATES[kind]:
        item = _mapping(item, field)
    return item


def _first_ordinal(item: dict[str, Any]) -> int:
    start = _mapping(_mapping(item, "spec"), "ordinals").get("start", 0)
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise ManifestError("spec.ordinals.start: not a number from 0")
    return start


def _mapping(item: dict[str, Any], field: str) -> dict[str, Any]:
    found = item.get(field)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ManifestError(f"{field}: not an object")
    return found


def _name(metadata: dict[str, Any], field: str, *, default: str) -> str:
    found = _text(metadata.get(field) or default, f"metadata.{field}")
    if found and not _NAME.fullmatch(found):
        raise ManifestError(f"metadata.{field}: {found[:60]!r}: not a name that Kubernetes takes")
    return found


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{field}: {str(value)[:40]!r}: not a text")
    return value
