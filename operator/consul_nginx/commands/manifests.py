"""Objects of Kubernetes out of files, folders and standard input, as kubectl takes them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from consul_nginx.model.kubernetes import ObjectRef

SUFFIXES = (".yaml", ".yml", ".json")
STANDARD_INPUT = "-"
MAX_VALUES = 1_000_000

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class ManifestError(ValueError):
    """It isn't a manifest, or lacks what is asked of it; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One object, which has a kind, and the file that it stands in."""

    file: str
    raw: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Kind of the object."""
        return str(self.raw["kind"])


class _Loader(yaml.SafeLoader):
    """Reads times as text, as Kubernetes does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own attribute
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_manifests(names: Iterable[str]) -> tuple[Manifest, ...]:
    """Every object in files, in the folders' own files (not those below), and standard input (-).

    Raises ``ManifestError``, whose message names the file.
    """
    found: list[Manifest] = []
    for name in names:
        for file in _files(name):
            where = "standard input" if file == STANDARD_INPUT else file
            try:
                found += (Manifest(file=where, raw=raw) for raw in _objects_in(_text_of(file)))
            except (ManifestError, OSError, UnicodeDecodeError, RecursionError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise ManifestError(f"{where}: {reason}") from error
    return tuple(found)


def ref_of(raw: Mapping[str, Any], *, namespace: str) -> ObjectRef:
    """Namespace, by default ``namespace``, and name of an object, empty if it has none.

    Raises ``ManifestError``.
    """
    metadata = mapping_of(raw, "metadata")
    return ObjectRef(
        name=_name(metadata, "name", default=""),
        namespace=_name(metadata, "namespace", default=namespace),
    )


def mapping_of(raw: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A field that is an object, empty if it is missing; raises ``ManifestError``."""
    found = raw.get(field)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ManifestError(f"{field}: not an object")
    return found


def _files(name: str) -> list[str]:
    path = Path(name)
    if name == STANDARD_INPUT or not path.is_dir():
        return [name]
    try:
        files = sorted(str(file) for file in path.iterdir() if file.suffix in SUFFIXES)
    except OSError as error:
        raise ManifestError(f"{name}: {error.strerror}") from error
    if not files:
        raise ManifestError(f"{name}: no {', '.join(SUFFIXES)} in this folder")
    return files


def _text_of(file: str) -> str:
    content = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
    return content.decode()


def _objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Objects of all documents in a YAML or JSON text, and of lists in them."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(f"not YAML: {' '.join(str(error).split())}") from error
    if _size(documents, {}) > MAX_VALUES:
        raise ManifestError(f"more than {MAX_VALUES:,} values, those behind aliases counted too")
    for document in documents:
        if document is not None:
            yield from _objects(document)


def _size(value: Any, known: dict[int, int]) -> int:
    """Number of values in a value: nine lines of aliases can stand for a billion of them."""
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        inside = parts if isinstance(value, dict | list) else ()
        known[id(value)] = 1 + sum(_size(part, known) for part in inside)
    return known[id(value)]


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


def _name(metadata: Mapping[str, Any], field: str, *, default: str) -> str:
    found = _text(metadata.get(field) or default, f"metadata.{field}")
    if found and not _NAME.fullmatch(found):
        raise ManifestError(f"metadata.{field}: {found[:60]!r}: not a name that Kubernetes takes")
    return found


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{field}: {str(value)[:40]!r}: not a text")
    return value
