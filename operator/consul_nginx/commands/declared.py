"""LoadBalancers and ServiceMappings out of manifests, read as if the API server had taken them.

What the API server would add is added here: a namespace, a uid, and who is older. An object without
``metadata.creationTimestamp`` is younger than all that have one, and as old as the others without:
among equals, namespace and name decide, as for objects of one ``kubectl apply``, whose times are
told in whole seconds. The order of files never matters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from consul_nginx.commands.manifests import Manifest, ManifestError, mapping_of, ref_of
from consul_nginx.model.kubernetes import GROUP, LoadBalancer, ObjectRef
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.resources.base import API_VERSION, Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping

LOAD_BALANCER = "LoadBalancer"
SERVICE_MAPPING = "ServiceMapping"

_OURS = (LOAD_BALANCER, SERVICE_MAPPING)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# Sorts behind every time that the API server gives.
_YOUNGEST = "9999-12-31T23:59:59Z"
# The API server sets it on every namespace.
_NAME_LABEL = "kubernetes.io/metadata.name"

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, kw_only=True)
class Declared(Generic[Parsed]):
    """One object, or what is wrong with it, and the file that it stands in."""

    file: str
    value: Parsed | Invalid


@dataclass(frozen=True, kw_only=True)
class Declarations:
    """All objects that count, in the order of the files.

    ``namespace_labels`` are what ``Namespace`` objects say; ``others`` has the objects of other
    kinds.
    """

    load_balancers: tuple[Declared[LoadBalancer], ...]
    mappings: tuple[Declared[ServiceMapping], ...]
    namespace_labels: Mapping[str, Mapping[str, str]]
    others: tuple[Manifest, ...]

    @property
    def valid_mappings(self) -> tuple[ServiceMapping, ...]:
        """Those that can be read."""
        values = (item.value for item in self.mappings)
        return tuple(value for value in values if isinstance(value, ServiceMapping))


def declarations(manifests: Iterable[Manifest], *, namespace: str) -> Declarations:
    """Sort out and read manifests; ``namespace`` is that of objects which name none.

    Raises ``ManifestError``, whose message names the file, for what is no object at all, and for
    two of the same name.
    """
    ours: list[Manifest] = []
    namespaces: list[Manifest] = []
    others: list[Manifest] = []
    for manifest in manifests:
        if _is_ours(manifest):
            ours.append(manifest)
        elif manifest.kind == "Namespace":
            namespaces.append(manifest)
        else:
            others.append(manifest)
    refs = _refs(ours, namespace=namespace)

    def read(kind: str, parse: Callable[[Mapping[str, Any]], Parsed]) -> tuple[Any, ...]:
        return tuple(
            Declared(file=manifest.file, value=parse(_stored(manifest, ref=ref)))
            for (of, ref), manifest in refs.items()
            if of == kind
        )

    labels = {ref.namespace: {_NAME_LABEL: ref.namespace} for _, ref in refs}
    return Declarations(
        load_balancers=read(LOAD_BALANCER, parse_load_balancer),
        mappings=read(SERVICE_MAPPING, parse_service_mapping),
        namespace_labels={**labels, **dict(map(_labels, namespaces))},
        others=tuple(others),
    )


def _is_ours(manifest: Manifest) -> bool:
    """Whether the operator reads it; raises for what has only the name of something of ours."""
    default = API_VERSION if manifest.kind in _OURS else ""
    version = manifest.raw.get("apiVersion") or default
    if str(version).partition("/")[0] != GROUP:
        return False
    if version != API_VERSION or manifest.kind not in _OURS:
        raise ManifestError(
            f"{manifest.file}: {manifest.kind} of {version}: there is no such kind; "
            f"{API_VERSION} has {' and '.join(_OURS)}"
        )
    return True


def _refs(
    manifests: Iterable[Manifest], *, namespace: str
) -> dict[tuple[str, ObjectRef], Manifest]:
    """Objects by kind and name, without those that are about to be deleted."""
    found: dict[tuple[str, ObjectRef], Manifest] = {}
    for manifest in manifests:
        ref = _named(manifest, namespace=namespace)
        if "deletionTimestamp" in mapping_of(manifest.raw, "metadata"):
            continue
        other = found.setdefault((manifest.kind, ref), manifest)
        if other is not manifest:
            raise ManifestError(
                f"{manifest.file}: {manifest.kind} {ref} stands in {other.file} already; "
                "leave one of them out"
            )
    return found


def _named(manifest: Manifest, *, namespace: str) -> ObjectRef:
    try:
        ref = ref_of(manifest.raw, namespace=namespace)
    except ManifestError as error:
        raise ManifestError(f"{manifest.file}: {manifest.kind}: {error}") from error
    if not ref.name:
        raise ManifestError(f"{manifest.file}: {manifest.kind}: metadata.name is missing")
    return ref


def _stored(manifest: Manifest, *, ref: ObjectRef) -> dict[str, Any]:
    created = mapping_of(manifest.raw, "metadata").get("creationTimestamp") or _YOUNGEST
    if not isinstance(created, str) or not _TIME.fullmatch(created):
        raise ManifestError(
            f"{manifest.file}: {manifest.kind} {ref}: metadata.creationTimestamp: "
            f"{str(created)[:40]!r}: not a time such as 2026-11-22T07:00:00Z"
        )
    metadata = {
        "namespace": ref.namespace,
        "name": ref.name,
        "uid": f"{manifest.kind} {ref}",
        "creationTimestamp": created,
    }
    return {**manifest.raw, "metadata": metadata}


def _labels(manifest: Manifest) -> tuple[str, dict[str, str]]:
    name = _named(manifest, namespace="").name
    try:
        labels = mapping_of(mapping_of(manifest.raw, "metadata"), "labels")
    except ManifestError as error:
        raise ManifestError(f"{manifest.file}: Namespace {name}: metadata.{error}") from error
    return name, {**labels, _NAME_LABEL: name}
