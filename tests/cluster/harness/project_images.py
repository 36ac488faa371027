"""Build the project's images from its real Dockerfile, and only when its inputs changed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.harness import rootfs
from cluster.harness.commands import run, run_logged
from cluster.harness.locks import held
from cluster.harness.pinned_images import PROJECT
from cluster.harness.report import line, working
from cluster.harness.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

_FILES = ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "README.md", "LICENSE")
_FOLDERS = ("operator",)
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_KEPT_ARCHIVES = 6
_KEPT_LAYERS = 200  # every build leaves some; beyond that the next one starts from the bases
_BASES = (rootfs.DEBIAN, rootfs.PYTHON, rootfs.NGINX)


def build(settings: Settings, *, repository: Path = REPOSITORY) -> dict[str, Path]:
    """Return the project's images (name: archive); empty as long as there is no Dockerfile."""
    if not (repository / "Dockerfile").exists():
        line("project images", "no Dockerfile yet")
        return {}
    key = inputs_hash(repository)
    folder = settings.cache / "project"
    files = {target: folder / f"{target}-{key}.tar" for target in PROJECT}
    if all(file.exists() for file in files.values()):
        for file in files.values():
            file.touch()
        line("project images", f"unchanged ({key})")
    else:
        with held(settings.cache / "locks" / "buildah"):
            _prepare(settings, repository)
            for target, file in files.items():
                if not file.exists():
                    _build_target(settings, repository, target=target, file=file)
            _forget_old(folder)
    return {PROJECT[target]: file for target, file in files.items()}


def inputs_hash(repository: Path) -> str:
    """Return a hash of all that goes into the images."""
    digest = hashlib.sha256()
    for stand_in in _BASES:
        digest.update(stand_in.key.encode())
    for path in _inputs(repository):
        digest.update(f"{path.relative_to(repository)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _inputs(repository: Path) -> Iterable[Path]:
    for name in _FILES:
        if (repository / name).is_file():
            yield repository / name
    for name in _FOLDERS:
        for path in sorted((repository / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _buildah(settings: Settings) -> list[str | Path]:
    """Return buildah's own storage, in a mount namespace that takes its mounts along."""
    root = settings.cache / "buildah"
    return [
        "unshare",
        "--mount",
        "buildah",
        "--root",
        root / "root",
        "--runroot",
        root / "run",
        "--storage-driver",
        "overlay",
    ]


def _prepare(settings: Settings, repository: Path) -> None:
    """Give buildah the stand-ins, under the official names, that the Dockerfile asks for."""
    root = settings.cache / "buildah"
    if sum(1 for _ in (root / "root" / "overlay").glob("*")) > _KEPT_LAYERS:
        shutil.rmtree(root)
    wanted = (repository / "Dockerfile").read_text()
    marks = settings.cache / "buildah" / "bases"
    marks.mkdir(parents=True, exist_ok=True)
    for stand_in in _BASES:
        short = stand_in.image.removeprefix("docker.io/library/")
        if short not in wanted or (marks / stand_in.key).exists():
            continue
        file = rootfs.image(settings, stand_in)
        with working(stand_in.image, "giving the stand-in to buildah"):
            run([*_buildah(settings), "pull", "--quiet", f"docker-archive:{file}"], timeout=600)
        (marks / stand_in.key).touch()


def _build_target(settings: Settings, repository: Path, *, target: str, file: Path) -> None:
    log = settings.logs / f"image-{target}.log"
    log.unlink(missing_ok=True)
    name = PROJECT[target]
    command = [
        *_buildah(settings),
        "bud",
        "--layers",
        "--isolation",
        "chroot",
        "--network",
        "host",
        "--pull-never",
        "--target",
        target,
        "--tag",
        name,
        *_trust(settings),
        repository,
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with working(name.rsplit("/", 1)[-1], f"building target {target}"):
        run_logged(command, log=log)
        push = [*_buildah(settings), "push", "--quiet", name, f"docker-archive:{unfinished}:{name}"]
        run_logged(push, log=log)
    unfinished.replace(file)


def _trust(settings: Settings) -> list[str]:
    """Let pip and uv trust what this machine trusts, during the build only."""
    folder = settings.cache / "buildah" / "trust"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pip.conf").write_text(f"[global]\ncert = {_CA_BUNDLE}\n")
    (folder / "uv.toml").write_text("native-tls = true\n")
    mounts = {
        _CA_BUNDLE: str(_CA_BUNDLE),
        folder / "pip.conf": "/etc/pip.conf",
        folder / "uv.toml": "/etc/uv/uv.toml",
    }
    words: list[str] = []
    for source, target in mounts.items():
        words += ["--volume", f"{source}:{target}:ro"]
    return words


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob("*.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[_KEPT_ARCHIVES:]:
        file.unlink()
