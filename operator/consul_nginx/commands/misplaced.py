"""Keys that stand where Registrator or a hurried hand has them, and where nothing reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consul_nginx.commands.manifests import Manifest, ManifestError, mapping_of
from consul_nginx.model.registration import Pod
from consul_nginx.registrar.keys import is_key
from consul_nginx.registrar.warnings import Reason, listed, shown_key


def misplaced(manifest: Manifest, *, pod: Pod, path: tuple[str, ...]) -> Iterator[str]:
    """What is to be said about the object: lines that begin with a reason.

    ``pod`` was read from what is at ``path`` in the object, where ``()`` is the object itself.
    Raises ``ManifestError``.
    """
    raw: Mapping[str, Any] = manifest.raw
    way_out = f"write it to {'.'.join((*path, 'metadata', 'annotations'))}"
    places: list[tuple[str, list[str]]] = []
    if path:
        metadata = mapping_of(raw, "metadata")
        places += [
            (f"an annotation of the {manifest.kind} itself", _keys(metadata, "annotations")),
            (f"a label of the {manifest.kind} itself", _keys(metadata, "labels")),
        ]
    for field in path:
        raw = mapping_of(raw, field)
    places.append(("a label", _keys(mapping_of(raw, "metadata"), "labels")))
    if not pod.annotations:
        # Beside annotations it is the application's own.
        places.append(("a variable of a container", _variables(mapping_of(raw, "spec"))))
    for what, keys in places:
        if lost := [shown_key(key) for key in keys if key not in pod.annotations]:
            yield f"{Reason.KEY_UNUSED}: {listed(lost)}: {what} registers nothing; {way_out}"


def _keys(metadata: Mapping[str, Any], field: str) -> list[str]:
    return [key for key in mapping_of(metadata, field) if isinstance(key, str) and is_key(key)]


def _variables(spec: Mapping[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    for container in spec.get("containers") or ():
        variables = container.get("env") or ()
        if not isinstance(variables, list | tuple):
            raise ManifestError("env: not a list")
        names = (mapping_of({"env": variable}, "env").get("name") for variable in variables)
        found |= {name: None for name in names if isinstance(name, str) and is_key(name)}
    return [*found]
