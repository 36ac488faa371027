"""Write container images as docker-archive files, without any image tool.

Both containerd and buildah read this format, so the cluster's small images and
the stand-ins for official base images need no registry and no engine.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What the image says about how to run it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    labels: dict[str, str] = field(default_factory=dict)


def layer_from_files(layer: Path, files: dict[str, Path]) -> None:
    """Write a layer with the given programs (path in the image: file) and a /tmp."""
    with tarfile.open(layer, "w") as tar:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
        for name, source in files.items():
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size, info.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                tar.addfile(info, content)


def write(archive: Path, *, name: str, layer: Path, config: ImageConfig) -> None:
    """Write an image of one layer; the file appears whole or not at all."""
    digest = _sha256(layer)
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.command),
            "User": config.user,
            "Env": list(config.env),
            "Labels": config.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "consul-nginx-operator test cluster"}],
    }
    config_bytes = json.dumps(described).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".part")
    with tarfile.open(unfinished, "w") as tar:
        _add_bytes(tar, config_name, config_bytes)
        info = tarfile.TarInfo(f"{digest}.tar")
        info.size, info.mode = layer.stat().st_size, 0o644
        with layer.open("rb") as content:
            tar.addfile(info, content)
        _add_bytes(tar, "manifest.json", json.dumps(manifest).encode())
    unfinished.replace(archive)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
