"""The bundle: all rendered files of one LoadBalancer, and the manifest that describes it.

This module is the contract between the operator, which writes a bundle into a ConfigMap, and the
agent in the nginx pod, which takes exactly what the manifest lists. Both sides import it; it needs
the standard library only. ``docs/reference/bundle.md`` describes it in words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MANIFEST_KEY = "manifest.json"
MAIN_FILE = "nginx.conf"
HASH_FILE = "hash.conf"
ENDPOINTS_PREFIX = "endpoints-"
FORMAT = 1

FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}\.conf", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BundleError(ValueError):
    """The ConfigMap does not hold what its manifest says; the message names the key."""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(files: Mapping[str, str]) -> str:
    lines = (f"{_sha256(text)}  {name}\n" for name, text in sorted(files.items()))
    return _sha256("".join(lines))


def _hash_conf(digest: str) -> str:
    return f'return 200 "{digest}";\n'


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Rendered files, by flat file name, as nginx will see them.

    ``hash`` covers every file but ``hash.conf``, which holds the hash itself: nginx's workers
    answer with it, and that is how a reload is verified. ``structure`` covers what is left when
    the endpoint files are taken away as well; two bundles of equal structure differ only in
    endpoints, and the agent loads such a change without ``nginx -t``.
    """

    files: Mapping[str, str]
    hash: str
    structure: str

    @classmethod
    def of(cls, files: Mapping[str, str]) -> Bundle:
        """Make a bundle from rendered files; adds ``hash.conf``.

        Raises ``BundleError`` for a missing ``nginx.conf`` or an unsafe file name.
        """
        content = {name: text for name, text in sorted(files.items()) if name != HASH_FILE}
        if MAIN_FILE not in content:
            raise BundleError(f"{MAIN_FILE} is missing")
        for name, text in content.items():
            if not FILE_NAME.fullmatch(name):
                raise BundleError(f"{name!r} is not a bundle file name")
            if not text.isascii():
                raise BundleError(f"{name} is not ASCII: nothing that we render is anything else")
        digest = _digest(content)
        return cls(
            files={**content, HASH_FILE: _hash_conf(digest)},
            hash=digest,
            structure=_digest(
                {n: t for n, t in content.items() if not n.startswith(ENDPOINTS_PREFIX)}
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the ConfigMap says of its bundle.

    ``revision`` grows with every write and is never reused, also not after the ConfigMap was
    deleted: it is at least the wall clock in milliseconds at the time of the write.
    """

    revision: int
    hash: str
    structure: str
    files: tuple[str, ...]

    def to_json(self) -> str:
        """Serialise with sorted keys: equal manifests are equal bytes."""
        return json.dumps(
            {
                "format": FORMAT,
                "revision": self.revision,
                "hash": self.hash,
                "structure": self.structure,
                "files": list(self.files),
            },
            indent=1,
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse; raises ``BundleError`` that names the field which is not as it must be."""
        try:
            raw: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST_KEY} is not JSON: {error}") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise BundleError(f"{MANIFEST_KEY}: format is not {FORMAT}")
        revision, files = raw.get("revision"), raw.get("files")
        if type(revision) is not int or revision < 1:
            raise BundleError(f"{MANIFEST_KEY}: revision {revision!r} is not a positive integer")
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise BundleError(f"{MANIFEST_KEY}: files is not a list of names")
        return cls(
            revision=revision,
            hash=_hash_of(raw, "hash"),
            structure=_hash_of(raw, "structure"),
            files=tuple(files),
        )


def _hash_of(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise BundleError(f"{MANIFEST_KEY}: {key} {value!r} is not a SHA-256 in hex")
    return value


def encode(*, bundle: Bundle, revision: int) -> dict[str, str]:
    """ConfigMap ``data`` that carries ``bundle``."""
    manifest = Manifest(
        revision=revision,
        hash=bundle.hash,
        structure=bundle.structure,
        files=tuple(sorted(bundle.files)),
    )
    return {MANIFEST_KEY: manifest.to_json(), **bundle.files}


def decode(data: Mapping[str, str]) -> tuple[Manifest, Bundle]:
    """Manifest and bundle out of ConfigMap ``data``; keys the manifest doesn't list are ignored.

    Raises ``BundleError`` when a file is missing or the content doesn't have the manifest's hash.
    """
    if MANIFEST_KEY not in data:
        raise BundleError(f"{MANIFEST_KEY} is missing")
    manifest = Manifest.from_json(data[MANIFEST_KEY])
    missing = [name for name in manifest.files if name not in data]
    if missing:
        raise BundleError(f"{MANIFEST_KEY} lists {missing[0]!r}, which is missing")
    bundle = Bundle.of({name: data[name] for name in manifest.files})
    if bundle.hash != manifest.hash or set(bundle.files) != set(manifest.files):
        raise BundleError(f"the files' hash is {bundle.hash}, {MANIFEST_KEY} says {manifest.hash}")
    return manifest, bundle
