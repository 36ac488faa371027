"""``nginx -t`` on a bundle, on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path, PurePosixPath

from consul_nginx.agent.supervisor.modules import build_of, directives
from consul_nginx.agent.supervisor.words import quote
from consul_nginx.model.bundle import MAIN_FILE, Bundle
from consul_nginx.model.layout import Layout
from consul_nginx.model.secret_files import SecretFile

TIMEOUT_S = 60.0

# nginx opens the ports when it has read everything and found nothing wrong with it.
_MAY_NOT_LISTEN = re.compile(r"bind\(\) to \S+ failed \(13: ", re.ASCII)


class Result(Enum):
    """How a test ended; ``NOT_DONE`` says nothing about the bundle."""

    PASSED = auto()
    REFUSED = auto()
    NOT_DONE = auto()


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A result, and why in words: nginx's own when it refused."""

    result: Result
    words: str = ""


def try_bundle(
    rendered: Callable[[Layout], Bundle],
    *,
    program: str,
    content: Callable[[SecretFile], bytes],
) -> Tested:
    """Have ``program`` test a bundle, which is rendered for a folder that nginx may write to.

    ``content`` is that of the files of Secrets; they are gone when the test is over.
    """
    binary = shutil.which(program)
    if binary is None:
        return Tested(
            result=Result.NOT_DONE,
            words=f"there is no {program} here; install nginx, or name it by --nginx",
        )
    with tempfile.TemporaryDirectory(prefix="consul-nginx-") as root:
        layout = Layout(root=PurePosixPath(root))
        folder = Path(layout.generated)
        for path in (layout.nginx, layout.temp, layout.secrets, folder):
            Path(path).mkdir()
        bundle = rendered(layout)
        for name, text in bundle.files.items():
            (folder / name).write_text(text, encoding="ascii")
        for file in bundle.secrets:
            (Path(layout.secrets) / file.name).write_bytes(content(file))
        return _run(binary, main_file=folder / MAIN_FILE, root=root)


def _run(binary: str, *, main_file: Path, root: str) -> Tested:
    try:
        done = subprocess.run(  # noqa: S603 - the program is the caller's choice, no shell reads it
            [
                binary,
                "-e",
                "stderr",
                "-t",
                "-c",
                str(main_file),
                "-g",
                directives(build_of(binary)),
            ],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return Tested(result=Result.NOT_DONE, words=f"{binary}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Tested(result=Result.REFUSED, words=f"nginx -t took longer than {TIMEOUT_S:g} s")
    if done.returncode == 0:
        return Tested(result=Result.PASSED)
    said = done.stderr.decode(errors="replace").replace(f"{main_file.parent}/", "")
    words = " ".join(quote(said.replace(root, "").splitlines()).split())
    if _MAY_NOT_LISTEN.search(words):
        return Tested(result=Result.NOT_DONE, words=f"{words}; run it as root")
    return Tested(result=Result.REFUSED, words=words or f"it ended with {done.returncode}")
