"""Pods out of manifests: as they are written, or as a Deployment and others would make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from consul_nginx.commands.manifests import Manifest, ManifestError, mapping_of, ref_of
from consul_nginx.commands.misplaced import misplaced
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


@dataclass(frozen=True, kw_only=True)
class Found:
    """A Pod and the object that it stands in.

    ``pod.ref.name`` is empty while nobody knows it, ``ref.name`` when the object has none.
    ``remarks`` are about what the Pod isn't made with: keys that stand elsewhere in the object.
    """

    kind: str
    ref: ObjectRef
    file: str
    pod: Pod
    remarks: tuple[str, ...]

    @property
    def source(self) -> str:
        """The object, for people."""
        return _source(self.kind, self.ref)


def pods_in(manifests: Iterable[Manifest], *, namespace: str) -> tuple[Found, ...]:
    """Pods of objects; other kinds of objects are passed over.

    ``namespace`` is that of objects which name none. Raises ``ManifestError``, whose message names
    file and object.
    """
    return tuple(
        _found(manifest, namespace=namespace) for manifest in manifests if makes_pods(manifest)
    )


def makes_pods(manifest: Manifest) -> bool:
    """Whether it is a Pod, or makes Pods."""
    return manifest.kind == "Pod" or manifest.kind in TEMPLATES


def _found(manifest: Manifest, *, namespace: str) -> Found:
    raw, kind, file = manifest.raw, manifest.kind, manifest.file
    try:
        ref = ref_of(raw, namespace=namespace)
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from error
    name = ref.name
    try:
        if kind == "Pod":
            pod = parse_pod(raw)
        else:
            # A template's name is never used; a StatefulSet's first Pod stands for all.
            pod = replace(parse_pod(_template(raw, kind)), controlled=True)
            name = f"{name}-{_first_ordinal(raw)}" if kind == "StatefulSet" else ""
        remarks = tuple(misplaced(manifest, pod=pod, path=TEMPLATES.get(kind, ())))
    except (MalformedPodError, ManifestError) as error:
        raise ManifestError(f"{file}: {_source(kind, ref)}: {error}") from error
    pod = replace(pod, ref=ObjectRef(namespace=ref.namespace, name=name))
    return Found(kind=kind, ref=ref, file=file, pod=pod, remarks=remarks)


def _source(kind: str, ref: ObjectRef) -> str:
    return f"{kind} {ref.namespace}/{ref.name or '(without a name)'}"


def _template(raw: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for field in TEMPLATES[kind]:
        raw = mapping_of(raw, field)
    return raw


def _first_ordinal(raw: Mapping[str, Any]) -> int:
    start = mapping_of(mapping_of(raw, "spec"), "ordinals").get("start", 0)
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise ManifestError("spec.ordinals.start: not a number from 0")
    return start
