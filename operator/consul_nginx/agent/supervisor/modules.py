"""nginx's dynamic modules: what the renderer may count on, however nginx was built.

The official image has ``stream`` built in, Debian's packages have it as a file. Which of the two,
nginx says itself (``nginx -V``); a bundle never has a ``load_module``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_STREAM = "ngx_stream_module.so"
_DYNAMIC = re.compile(r"\s--with-stream=dynamic(?:\s|$)", re.ASCII)
_FOLDERS = (
    (re.compile(r"\s--modules-path=([\w./+-]+)", re.ASCII), ""),
    # As nginx's auto/options and auto/init have it.
    (re.compile(r"\s--prefix=([\w./+-]+)", re.ASCII), "/modules"),
)
_DEFAULT_FOLDER = "/usr/local/nginx/modules"


def build_of(binary: str) -> str:
    """What ``nginx -V`` says; raises ``OSError`` when it can't be run.

    By hand: importing ``subprocess`` costs 1.5 MB.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8", errors="replace") as said:
        try:
            actions = [(os.POSIX_SPAWN_DUP2, writer, 2)]
            pid = os.posix_spawn(binary, [binary, "-V"], os.environ, file_actions=actions)
        finally:
            os.close(writer)
        text = said.read()
    os.waitpid(pid, 0)
    return text


def directives(build: str, *, exists: Callable[[str], bool] = os.path.isfile) -> str:
    """What nginx has to be told by ``-g``, from what ``nginx -V`` said.

    Empty when ``stream`` is built in, and when its file is missing: nginx would then refuse every
    bundle, instead of those alone that need it.
    """
    if not _DYNAMIC.search(build):
        return ""
    file = f"{_folder(build)}/{_STREAM}"
    return f"load_module {file};" if exists(file) else ""


def _folder(build: str) -> str:
    for pattern, below in _FOLDERS:
        if found := pattern.search(build):
            return found[1] + below
    return _DEFAULT_FOLDER
