"""The bundle: all rendered files of one LoadBalancer, and the manifest that describes it.

The contract between the operator and the agent in the nginx pod; ``encoding`` puts both into
ConfigMaps. Both sides import it; it needs the standard library only. ``docs/reference/bundle.md``
describes it in words.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from consul_nginx.model.secret_files import SecretFile, SecretKind

MANIFEST_KEY = "manifest.json"
MAIN_FILE = "nginx.conf"
HASH_FILE = "hash.conf"
ENDPOINTS_PREFIX = "endpoints-"
FORMAT = 1
# Two sets of four: a new revision is written beside the shards that the manifest still names.
SHARDS_PER_SET = 4
SHARD_NUMBERS = range(1, 2 * SHARDS_PER_SET + 1)

FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}\.conf", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BundleError(ValueError):
    """The ConfigMap does not hold what its manifest says; the message names the key."""


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def _digest(sums: Mapping[str, str]) -> str:
    lines = (f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return sha256("".join(lines).encode())


def _hash_conf(digest: str) -> str:
    return f'return 200 "{digest}";\n'


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Rendered files, by flat file name, as nginx will see them.

    ``hash`` covers every file but ``hash.conf``, which holds the hash itself: nginx's workers
    answer with it, and that is how a reload is verified. ``structure`` covers what is left when
    the endpoint files are taken away as well; two bundles of equal structure differ only in
    endpoints, and the agent loads such a change without ``nginx -t``. ``secrets`` are the files of
    Secrets that it needs besides; both hashes cover which they are, and not what is in them.
    """

    files: Mapping[str, str]
    hash: str
    structure: str
    secrets: tuple[SecretFile, ...] = ()

    @classmethod
    def of(cls, files: Mapping[str, str], *, secrets: Iterable[SecretFile] = ()) -> Bundle:
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
        needed = tuple(sorted(set(secrets)))
        sums = {name: sha256(text.encode()) for name, text in content.items()}
        sums |= {f"secret {item.secret} {item.kind}": item.sha256 for item in needed}
        digest = _digest(sums)
        return cls(
            files={**content, HASH_FILE: _hash_conf(digest)},
            hash=digest,
            structure=_digest(
                {name: s for name, s in sums.items() if not name.startswith(ENDPOINTS_PREFIX)}
            ),
            secrets=needed,
        )


class Form(StrEnum):
    """How a bundle is carried."""

    PLAIN = "plain"
    COMPRESSED = "compressed"
    SHARDED = "sharded"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of a compressed bundle, in the ConfigMap of this number."""

    number: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the ConfigMap says of its bundle.

    ``revision`` grows with every write and is never reused, also not after the ConfigMap was
    deleted: it is at least the wall clock in milliseconds at the time of the write. ``files`` are
    the keys of a plain bundle; what is compressed lists its own. ``shards`` are in order.
    ``secrets`` are the files of Secrets that the bundle needs.
    """

    revision: int
    hash: str
    structure: str
    form: Form
    files: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()
    secrets: tuple[SecretFile, ...] = ()

    def to_json(self) -> str:
        """Serialise with sorted keys: equal manifests are equal bytes."""
        raw: dict[str, object] = {
            "format": FORMAT,
            "form": self.form.value,
            "revision": self.revision,
            "hash": self.hash,
            "structure": self.structure,
        }
        if self.form is Form.PLAIN:
            raw["files"] = list(self.files)
        if self.form is Form.SHARDED:
            raw["shards"] = [
                {"number": shard.number, "sha256": shard.sha256} for shard in self.shards
            ]
        if self.secrets:
            raw["secrets"] = [
                {"secret": item.secret, "kind": item.kind.value, "sha256": item.sha256}
                for item in self.secrets
            ]
        return json.dumps(raw, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse; raises ``BundleError`` that names the field which is not as it must be."""
        try:
            raw: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST_KEY} is not JSON: {error}") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise BundleError(f"{MANIFEST_KEY}: format is not {FORMAT}")
        revision = raw.get("revision")
        if type(revision) is not int or revision < 1:
            raise BundleError(f"{MANIFEST_KEY}: revision {revision!r} is not a positive integer")
        form = _form_of(raw)
        return cls(
            revision=revision,
            hash=_hash_of(raw, "hash"),
            structure=_hash_of(raw, "structure"),
            form=form,
            files=_files_of(raw) if form is Form.PLAIN else (),
            shards=_shards_of(raw) if form is Form.SHARDED else (),
            secrets=_secrets_of(raw),
        )


def _form_of(raw: Mapping[str, Any]) -> Form:
    try:
        return Form(str(raw.get("form")))
    except ValueError as error:
        raise BundleError(f"{MANIFEST_KEY}: form: {error}") from error


def _files_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    files = raw.get("files")
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise BundleError(f"{MANIFEST_KEY}: files is not a list of names")
    return tuple(files)


def _shards_of(raw: Mapping[str, Any]) -> tuple[Shard, ...]:
    listed = raw.get("shards")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise BundleError(f"{MANIFEST_KEY}: shards is not a list of objects")
    numbers = [item.get("number") for item in listed]
    good = all(type(number) is int and number in SHARD_NUMBERS for number in numbers)
    if not (good and 0 < len(set(numbers)) == len(numbers)):
        raise BundleError(f"{MANIFEST_KEY}: shards have the numbers {numbers!r}")
    return tuple(Shard(number=item["number"], sha256=_hash_of(item, "sha256")) for item in listed)


def _secrets_of(raw: Mapping[str, Any]) -> tuple[SecretFile, ...]:
    listed = raw.get("secrets", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise BundleError(f"{MANIFEST_KEY}: secrets is not a list of objects")
    return tuple(_secret_of(item) for item in listed)


def _secret_of(item: Mapping[str, Any]) -> SecretFile:
    try:
        return SecretFile(
            secret=str(item.get("secret")),
            kind=SecretKind(str(item.get("kind"))),
            sha256=_hash_of(item, "sha256"),
        )
    except ValueError as error:
        raise BundleError(f"{MANIFEST_KEY}: secrets: {error}") from error


def _hash_of(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise BundleError(f"{MANIFEST_KEY}: {key} {value!r} is not a SHA-256 in hex")
    return value
