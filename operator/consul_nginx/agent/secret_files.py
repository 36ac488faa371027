"""Files that nginx needs of Secrets: fetched by name, checked by hash, kept on the volume.

They lie beside the bundles and not in them: their names are their content's hashes, so bundles
share them, trials find them, and going back to an earlier bundle finds its own. When one can't be
had, what names it is exchanged; the rest of the bundle waits for nobody's Secret.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import aiohttp

from consul_nginx.agent.api import ApiError, check, open_session
from consul_nginx.agent.settings import Settings
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.secret_files import (
    SecretContentError,
    SecretFile,
    SecretKind,
    content_of,
    named_in,
    sha256_of,
    stand_in,
)

# For all of them together: the agent doesn't look after nginx meanwhile.
_TIMEOUT = 10.0
_TEMPORARY = ".tmp"
# nginx reads certificates once, and users at each request of a worker that may still drain: as long
# as spec.reload.shutdownTimeout can be, and some more.
_DRAINED_AFTER = {SecretKind.TLS.suffix: 0.0, SecretKind.USERS.suffix: 3700.0}


class SecretFiles:
    """``secrets/`` on the volume; the agent is its only writer.

    ``clock`` is in seconds since 1970, as files have it.
    """

    def __init__(self, *, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._folder = Path(settings.layout.secrets)
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folder, and remove what an agent left that was killed while it wrote."""
        self._folder.mkdir(mode=0o750, exist_ok=True)
        for left in self._folder.glob(f"*{_TEMPORARY}*"):
            left.unlink()

    async def provide(self, bundle: Bundle) -> dict[str, str]:
        """Have every file here that the bundle names.

        Returns why one is missing, by the part of the bundle that names it: none may be. Raises
        ``OSError`` when the volume is full.
        """
        parts = _parts(bundle.files)
        wanted = frozenset().union(*parts.values())
        absent = wanted - self._present()
        if not absent:
            return {}
        reasons = await self._fetch([item for item in bundle.secrets if item.name in absent])
        still = absent - self._present()
        return {
            part: reasons.get(file, f"{file[:12]}… of an earlier revision is not here any more")
            for part, files in parts.items()
            for file in sorted(files & still)
        }

    def without(self, bundle: Bundle, *, missing: Iterable[str], good: Mapping[str, str]) -> Bundle:
        """The bundle with the parts that are ``missing`` as they are in ``good``.

        Those are the files of the bundle that nginx runs. Of one that it doesn't have either,
        counts what is here: the certificate with the other type of key. Without any, handshakes
        fail, and nobody is let in.
        """
        present = self._present()
        earlier = {
            name: text
            for name in missing
            if (text := good.get(name, "")) and named_in(text) <= present
        }
        exchanged = {
            name: earlier.get(name) or self._rest(bundle.files[name]) or stand_in(name) or ""
            for name in missing
        }
        return Bundle.of({**bundle.files, **exchanged}, secrets=bundle.secrets)

    def _rest(self, text: str) -> str:
        """A part of the configuration without the lines that name a file which isn't here."""
        present = self._present()
        return "".join(line for line in text.splitlines(keepends=True) if named_in(line) <= present)

    def prune(self, bundles: Iterable[Mapping[str, str]]) -> None:
        """Delete what none of these bundles' files names, and no worker of nginx reads any more.

        Workers read users at each request, and those of an earlier bundle answer until it is over.
        """
        named = frozenset().union(*(named_in(text) for files in bundles for text in files.values()))
        now = self._clock()
        for name in self._present():
            path = self._folder / name
            if name in named:
                os.utime(path, (now, now))
            elif path.stat().st_mtime + _DRAINED_AFTER[path.suffix] <= now:
                path.unlink()

    def _present(self) -> frozenset[str]:
        return frozenset(
            path.name for kind in SecretKind for path in self._folder.glob(f"*{kind.suffix}")
        )

    async def _fetch(self, files: Iterable[SecretFile]) -> dict[str, str]:
        """Write what can be had; by file, why the rest can't."""
        reasons: dict[str, str] = {}
        try:
            async with asyncio.timeout(_TIMEOUT), open_session(self._settings) as session:
                for file in files:
                    reason = await self._fetch_one(session, file)
                    if reason is not None:
                        reasons[file.name] = f"Secret {file.secret}: {reason}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            words = str(error) or type(error).__name__
            reasons |= {
                file.name: f"Secret {file.secret}: {words}"
                for file in files
                if file.name not in reasons
            }
        return reasons

    async def _fetch_one(self, session: aiohttp.ClientSession, file: SecretFile) -> str | None:
        """None when it is written, else why it isn't."""
        async with session.get(f"{self._settings.secrets_url}/{file.secret}") as answer:
            if answer.status == 404:
                return "it does not exist"
            try:
                await check(answer)
            except ApiError as error:
                return str(error)
            raw = await answer.json(content_type=None)
        try:
            content = content_of(data=raw.get("data") or {}, keys=file.kind.keys)
        except SecretContentError as error:
            return str(error)
        if sha256_of(content) != file.sha256:
            return "it holds something else than this revision was made for"
        self._write(file, content)
        return None

    def _write(self, file: SecretFile, content: bytes) -> None:
        new = self._folder / f"{file.sha256}{_TEMPORARY}{os.getpid()}-{next(self._numbers)}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as target:
            target.write(content)
        new.rename(self._folder / file.name)


def _parts(files: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The files of Secrets that each part of a bundle names which may."""
    return {name: named_in(text) for name, text in files.items() if stand_in(name) is not None}
