"""A bundle in ConfigMaps and back: plain, compressed, or in shards.

====================  ==================================  ======================================
form                  ConfigMap ``<lb>-config``           ConfigMaps ``<lb>-config-1`` … ``-8``
====================  ==================================  ======================================
plain, to 64 kB       manifest and files, readable        not read
compressed            manifest, and ``bundle.json.gz``    not read
sharded, from 900 kB  manifest with the shards' SHA-256   a part of ``bundle.json.gz`` in each
====================  ==================================  ======================================

The way back to a smaller form needs clearly less than its limit, so that a bundle near one doesn't
change its form with each endpoint. Pure, and the standard library only: the agent imports it.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consul_nginx.model.bundle import (
    MANIFEST_KEY,
    SHARDS_PER_SET,
    Bundle,
    BundleError,
    Form,
    Manifest,
    Shard,
    sha256,
)

PACKED_KEY = "bundle.json.gz"

_GZIP = 31  # zlib's word for: gzip's header, largest window; it leaves the time in there 0
_LEVEL = 6


class TooLargeError(BundleError):
    """The bundle fits into no form; the message says what to do."""


class IncompleteError(BundleError):
    """A shard is missing or of another revision: reading again may help."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """In bytes. A ConfigMap holds 1 MiB, etcd's request 1.5 MiB."""

    plain: int = 64_000
    plain_again: int = 48_000
    single: int = 900_000
    single_again: int = 700_000
    unpacked: int = 32 * 1024 * 1024


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Content:
    """``data`` and ``binaryData`` (in base64) of a ConfigMap."""

    data: Mapping[str, str] = field(default_factory=dict)
    binary_data: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config_map: Mapping[str, Any]) -> Content:
        """What a ConfigMap as the API server returns it holds."""
        return cls(
            data=config_map.get("data") or {}, binary_data=config_map.get("binaryData") or {}
        )

    @property
    def size(self) -> int:
        """Bytes that it takes in etcd."""
        plain = sum(len(key) + len(text) for key, text in self.data.items())
        return plain + sum(len(key) + len(text) * 3 // 4 for key, text in self.binary_data.items())


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What to write: ``shards``, by their numbers, before ``main``, which names them."""

    manifest: Manifest
    main: Content
    shards: Mapping[int, Content]

    @property
    def size(self) -> int:
        """Bytes that it takes in etcd."""
        return self.main.size + sum(shard.size for shard in self.shards.values())


def shard_name(*, config_map: str, number: int) -> str:
    """Name of a shard of the bundle in ``config_map``."""
    return f"{config_map}-{number}"


def encode(
    *, bundle: Bundle, revision: int, previous: Manifest | None = None, limits: Limits = LIMITS
) -> Encoded:
    """Put a bundle into the smallest form that carries it; equal input gives equal bytes.

    ``previous`` is the manifest that will be replaced: shards get other numbers than its, so that
    what it names stays whole until the new manifest is there. Raises ``TooLargeError``.
    """
    form = previous.form if previous else None
    size = sum(len(name) + len(text) for name, text in bundle.files.items())
    if size <= (limits.plain if form in (None, Form.PLAIN) else limits.plain_again):
        manifest = _manifest(
            bundle=bundle, revision=revision, form=Form.PLAIN, files=tuple(sorted(bundle.files))
        )
        return _encoded(manifest, data=bundle.files)
    packed = _pack(bundle, limits=limits)
    if len(packed) <= (limits.single_again if form is Form.SHARDED else limits.single):
        manifest = _manifest(bundle=bundle, revision=revision, form=Form.COMPRESSED)
        return _encoded(manifest, binary_data=_binary(packed))
    parts = [packed[at : at + limits.single] for at in range(0, len(packed), limits.single)]
    if len(parts) > SHARDS_PER_SET:
        raise TooLargeError(
            f"the configuration takes {len(packed)} bytes compressed, and {SHARDS_PER_SET} "
            f"ConfigMaps of {limits.single} bytes may carry it: spread the mappings over several "
            "LoadBalancers"
        )
    numbered = dict(enumerate(parts, start=_first_number(previous)))
    manifest = _manifest(
        bundle=bundle,
        revision=revision,
        form=Form.SHARDED,
        shards=tuple(Shard(number=n, sha256=sha256(part)) for n, part in numbered.items()),
    )
    shards = {n: Content(binary_data=_binary(part)) for n, part in numbered.items()}
    return _encoded(manifest, shards=shards)


def decode(
    *, main: Content, shards: Mapping[int, Content] | None = None, limits: Limits = LIMITS
) -> tuple[Manifest, Bundle]:
    """Manifest and bundle; only what the manifest lists is looked at.

    Raises ``BundleError`` when something is missing, is not what the manifest's hashes say, or
    unpacks to more than ``limits.unpacked``; ``IncompleteError`` when it is about ``shards``.
    """
    manifest = manifest_of(main)
    match manifest.form:
        case Form.PLAIN:
            files = _listed(manifest=manifest, data=main.data)
        case Form.COMPRESSED:
            files = _unpack(_part(main), limits=limits)
        case Form.SHARDED:
            files = _unpack(_joined(manifest=manifest, shards=shards or {}), limits=limits)
    bundle = Bundle.of(files, secrets=manifest.secrets)
    if (bundle.hash, bundle.structure) != (manifest.hash, manifest.structure):
        raise BundleError(f"the files' hash is {bundle.hash}, {MANIFEST_KEY} says {manifest.hash}")
    return manifest, bundle


def manifest_of(main: Content) -> Manifest:
    """The manifest alone; raises ``BundleError``."""
    if MANIFEST_KEY not in main.data:
        raise BundleError(f"{MANIFEST_KEY} is missing")
    return Manifest.from_json(main.data[MANIFEST_KEY])


def _manifest(*, bundle: Bundle, revision: int, form: Form, **more: Any) -> Manifest:
    return Manifest(
        revision=revision,
        hash=bundle.hash,
        structure=bundle.structure,
        form=form,
        secrets=bundle.secrets,
        **more,
    )


def _encoded(
    manifest: Manifest,
    *,
    data: Mapping[str, str] | None = None,
    binary_data: Mapping[str, str] | None = None,
    shards: Mapping[int, Content] | None = None,
) -> Encoded:
    main = Content(
        data={MANIFEST_KEY: manifest.to_json(), **(data or {})}, binary_data=binary_data or {}
    )
    return Encoded(manifest=manifest, main=main, shards=shards or {})


def _first_number(previous: Manifest | None) -> int:
    """Of the set that ``previous`` does not use."""
    taken = previous.shards if previous else ()
    return SHARDS_PER_SET + 1 if any(s.number <= SHARDS_PER_SET for s in taken) else 1


def _pack(bundle: Bundle, *, limits: Limits) -> bytes:
    text = json.dumps(bundle.files, sort_keys=True, separators=(",", ":")).encode()
    if len(text) > limits.unpacked:
        raise TooLargeError(
            f"the configuration takes {len(text)} bytes, at most {limits.unpacked} may be: spread "
            "the mappings over several LoadBalancers"
        )
    return zlib.compress(text, _LEVEL, _GZIP)


def _unpack(packed: bytes, *, limits: Limits) -> dict[str, str]:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        text = unpacker.decompress(packed, limits.unpacked + 1)
    except zlib.error as error:
        raise BundleError(f"{PACKED_KEY}: {error}") from error
    if len(text) > limits.unpacked:
        raise BundleError(f"{PACKED_KEY} unpacks to more than {limits.unpacked} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise BundleError(f"{PACKED_KEY} is not one whole gzip stream")
    try:
        files: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{PACKED_KEY} is not JSON: {error}") from error
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise BundleError(f"{PACKED_KEY} is not an object of texts")
    return files


def _binary(packed: bytes) -> dict[str, str]:
    return {PACKED_KEY: b64encode(packed).decode()}


def _listed(*, manifest: Manifest, data: Mapping[str, str]) -> dict[str, str]:
    missing = [name for name in manifest.files if name not in data]
    if missing:
        raise BundleError(f"{MANIFEST_KEY} lists {missing[0]!r}, which is missing")
    return {name: data[name] for name in manifest.files}


def _part(content: Content) -> bytes:
    try:
        return b64decode(content.binary_data[PACKED_KEY], validate=True)
    except KeyError as error:
        raise BundleError(f"{PACKED_KEY} is missing") from error
    except ValueError as error:
        raise BundleError(f"{PACKED_KEY} is not base64: {error}") from error


def _joined(*, manifest: Manifest, shards: Mapping[int, Content]) -> bytes:
    parts = []
    for shard in manifest.shards:
        if shard.number not in shards:
            raise IncompleteError(f"shard {shard.number} is missing")
        try:
            part = _part(shards[shard.number])
        except BundleError as error:
            raise IncompleteError(f"shard {shard.number}: {error}") from error
        if sha256(part) != shard.sha256:
            raise IncompleteError(
                f"shard {shard.number} has the SHA-256 {sha256(part)}, {MANIFEST_KEY} says "
                f"{shard.sha256}"
            )
        parts.append(part)
    return b"".join(parts)
