"""Container images without a registry: make archives, and import them on every node."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness import archive, node, project_images, rootfs
from cluster.harness.commands import run
from cluster.harness.locks import held
from cluster.harness.pinned_images import PAUSE, SMALL, SmallImage
from cluster.harness.report import line
from cluster.harness.settings import Settings

if TYPE_CHECKING:
    from cluster.harness.node import Node

_PAUSE_SOURCE = Path(__file__).with_name("pause.c")
_PROOF_WITHOUT_PROJECT = rootfs.PYTHON


def cluster_images(settings: Settings) -> dict[str, Path]:
    """Return what every cluster needs (name: archive), made when not cached.

    Python is what the pods of examples/ run on.
    """
    images = {image.name: _small(settings, image) for image in SMALL}
    images[rootfs.PYTHON.image] = rootfs.image(settings, rootfs.PYTHON)
    return images


def project(settings: Settings) -> dict[str, Path]:
    """Return the project's images, or the Python stand-in as long as there is no Dockerfile."""
    built = project_images.build(settings)
    if built:
        return built
    return {_PROOF_WITHOUT_PROJECT.image: rootfs.image(settings, _PROOF_WITHOUT_PROJECT)}


def import_all(settings: Settings, nodes: list[Node], images: dict[str, Path]) -> None:
    """Import images on the nodes that don't have exactly these, on all nodes at once."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for each, fresh in zip(
            nodes, pool.map(lambda each: _import(settings, each, images), nodes), strict=True
        ):
            if fresh:
                line(each.name, f"imported {', '.join(fresh)}")


def _import(settings: Settings, each: Node, images: dict[str, Path]) -> list[str]:
    folder = settings.node_dir(each.name) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    fresh = []
    for name, file in images.items():
        marker = folder / hashlib.sha256(name.encode()).hexdigest()[:16]
        if marker.exists() and marker.read_text() == file.name:
            continue
        node.ctr(each, "images", "import", file)
        marker.write_text(file.name)
        fresh.append(name.rsplit("/", 1)[-1])
    return fresh


def _small(settings: Settings, image: SmallImage) -> Path:
    program = _pause(settings) if image is PAUSE else (settings.bin / image.program).resolve()
    file = settings.cache / "images" / f"{program.name}.tar"
    if file.exists():
        return file
    with held(settings.cache / "locks" / file.name):
        if not file.exists():
            layer = file.with_suffix(".layer")
            layer.parent.mkdir(parents=True, exist_ok=True)
            archive.layer_from_files(layer, {image.path: program})
            config = archive.ImageConfig(entrypoint=(image.path,), user=image.user)
            archive.write(file, name=image.name, layer=layer, config=config)
            layer.unlink()
    return file


def _pause(settings: Settings) -> Path:
    key = hashlib.sha256(_PAUSE_SOURCE.read_bytes()).hexdigest()[:12]
    program = settings.cache / "bin" / f"pause-{key}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".part")
        run(["gcc", "-static", "-Os", "-s", "-o", unfinished, _PAUSE_SOURCE])
        shutil.move(unfinished, program)
    return program
