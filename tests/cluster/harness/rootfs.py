"""Stand-ins for official base images, made from Debian packages alone.

There is no image registry here, so a small Debian is installed into a folder
and packed under the official image's name: the project's Dockerfile builds
unchanged. The folders stay in the cache; nginx also runs from there directly.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.harness import archive
from cluster.harness.commands import run, run_logged
from cluster.harness.locks import held
from cluster.harness.report import HarnessError, line, working
from cluster.harness.settings import Settings

_PYTHON_LINKS = """
ln -sf /usr/bin/python3 /usr/local/bin/python3
ln -sf /usr/bin/python3 /usr/local/bin/python
"""
# All that the Dockerfile installs is in already. Without sources `apt-get update` works even
# where the mirror of the ever-moving sid is older than its release file allows.
_NO_SOURCES = """
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
"""
# The official image's ids; Debian's own package would use www-data.
_NGINX_USER = """
groupmod --gid 901 "$(getent group 101 | cut -d: -f1)" 2>/dev/null || true
usermod --uid 901 "$(getent passwd 101 | cut -d: -f1)" 2>/dev/null || true
groupadd --system --gid 101 nginx
useradd --system --uid 101 --gid nginx --no-create-home --home-dir /nonexistent \
    --shell /bin/false --comment "nginx user" nginx
"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """How to make the stand-in of one official image."""

    image: str
    suite: str
    packages: tuple[str, ...]
    finish: str = ""
    command: tuple[str, ...] = ("bash",)

    @property
    def key(self) -> str:
        """The cache key: the recipe, not the date."""
        recipe = repr((self.image, self.suite, self.packages, self.finish, self.command, 1))
        name = self.image.rsplit("/", 1)[-1].replace(":", "-")
        return f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


DEBIAN = StandIn(
    image="docker.io/library/debian:trixie-slim", suite="trixie", packages=("ca-certificates",)
)
PYTHON = StandIn(
    image="docker.io/library/python:3.13-slim-trixie",
    suite="trixie",
    packages=("ca-certificates", "python3", "python3-venv"),
    finish=_PYTHON_LINKS,
    command=("python3",),
)
NGINX = StandIn(
    image="docker.io/library/nginx:1.30",
    suite="sid",  # trixie has 1.26, too old for `resolve` and `service=` upstreams
    packages=("ca-certificates", "libnginx-mod-stream", "nginx", "python3", "python3-venv"),
    finish=_NGINX_USER + _NO_SOURCES,
    command=("nginx", "-g", "daemon off;"),
)


def folder(settings: Settings, stand_in: StandIn) -> Path:
    """Return the installed system of a stand-in, making it when it isn't cached."""
    root = settings.cache / "rootfs" / stand_in.key
    if root.exists():
        return root
    with held(settings.cache / "locks" / stand_in.key):
        if not root.exists():
            _install(settings, stand_in, root=root)
    return root


def image(settings: Settings, stand_in: StandIn) -> Path:
    """Return the archive of a stand-in's image, making it when it isn't cached."""
    file = settings.cache / "images" / f"{stand_in.key}.tar"
    if file.exists():
        return file
    root = folder(settings, stand_in)
    with held(settings.cache / "locks" / stand_in.key):
        if not file.exists():
            layer = file.with_suffix(".layer")
            layer.parent.mkdir(parents=True, exist_ok=True)
            with working(stand_in.image, "packing"):
                pack = ["tar", "-C", root, "--one-file-system", "--numeric-owner", "-cf", layer]
                run([*pack, "."], timeout=600)
                archive.write(
                    file,
                    name=stand_in.image,
                    layer=layer,
                    config=archive.ImageConfig(command=stand_in.command),
                )
            layer.unlink()
    return file


def nginx_program(settings: Settings) -> Path:
    """Write a wrapper that runs the stand-in's nginx on this machine, and return its path.

    Its C library is newer than this machine's, so it is started by its own loader. ``-V`` tells
    where its modules are on this machine.
    """
    root = folder(settings, NGINX)
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    wrapper = settings.bin / "nginx"
    settings.bin.mkdir(parents=True, exist_ok=True)
    content = (
        "#!/bin/sh\n"
        "# Written by the test cluster's harness.\n"
        f'if [ "$*" = -V ]; then "$0" -q -V 2>&1 | sed "s#--modules-path=#&{root}#" >&2; exit; fi\n'
        f'exec "{libraries}/ld-linux-x86-64.so.2" --library-path "{libraries}" \\\n'
        f'    "{root}/usr/sbin/nginx" "$@"\n'
    )
    if not wrapper.exists() or wrapper.read_text() != content:
        wrapper.unlink(missing_ok=True)
        wrapper.write_text(content)
        wrapper.chmod(0o755)
    return wrapper


def _install(settings: Settings, stand_in: StandIn, *, root: Path) -> None:
    unfinished = root.with_name(f"{root.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    log = settings.cache / "logs" / f"{stand_in.key}.log"
    # An own mount namespace: whatever debootstrap mounts vanishes with it, even when killed.
    command = [
        "unshare",
        "--mount",
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(stand_in.packages)}",
        stand_in.suite,
        unfinished,
    ]
    with working(stand_in.image, f"installing a stand-in from Debian {stand_in.suite}"):
        run_logged(command, log=log, env={**os.environ, "LC_ALL": "C"})
        if stand_in.finish:
            chroot = ["unshare", "--mount", "chroot", unfinished, "sh", "-ec", stand_in.finish]
            run_logged(chroot, log=log, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
            for path in (unfinished / leftover).glob("*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    if stand_in is NGINX:
        _check_nginx(unfinished)
    unfinished.replace(root)
    line(stand_in.image, "stand-in cached")


def _check_nginx(root: Path) -> None:
    said = run(["chroot", root, "nginx", "-v"]).stderr
    wanted = NGINX.image.rsplit(":", 1)[-1]
    if f"nginx/{wanted}." not in said:
        raise HarnessError(f"Debian {NGINX.suite} has {said.strip()}, wanted {wanted}.x")
    if not (root / "usr/lib/nginx/modules/ngx_stream_module.so").exists():
        raise HarnessError(f"Debian {NGINX.suite}'s nginx has no stream module: TCP needs it")
