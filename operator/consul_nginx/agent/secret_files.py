"""Files that nginx needs of Secrets: fetched by name, checked by hash, kept on the volume.

They lie beside the bundles and not in them: their names are their content's hashes, so bundles
share them, trials find them, and going back to an earlier bundle finds its own. When one can't be
had, the certificate that names it is exchanged; the rest of the bundle waits for nobody's Secret.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp

from consul_nginx.agent.api import ApiError, check, open_session
from consul_nginx.agent.settings import Settings
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.secret_files import (
    CERTIFICATE_PREFIX,
    NO_CERTIFICATE,
    SecretContentError,
    SecretFile,
    content_of,
    file_name,
    named_in,
    sha256_of,
)

# For all of them together: the agent doesn't look after nginx meanwhile.
_TIMEOUT = 10.0
_TEMPORARY = ".tmp"


class SecretFiles:
    """``secrets/`` on the volume; the agent is its only writer."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings
        self._folder = Path(settings.layout.secrets)
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folder, and remove what an agent left that was killed while it wrote."""
        self._folder.mkdir(mode=0o750, exist_ok=True)
        for left in self._folder.glob(f"*{_TEMPORARY}*"):
            left.unlink()

    async def provide(self, bundle: Bundle) -> dict[str, str]:
        """Have every file here that the bundle's certificates name.

        Returns why one is missing, by the certificate that names it: none may be. Raises
        ``OSError`` when the volume is full.
        """
        certificates = _certificates(bundle.files)
        wanted = frozenset().union(*certificates.values())
        absent = wanted - self._present()
        if not absent:
            return {}
        reasons = await self._fetch([item for item in bundle.secrets if item.sha256 in absent])
        still = absent - self._present()
        return {
            certificate: reasons.get(
                digest, f"{file_name(digest)[:12]}… of an earlier revision is not here any more"
            )
            for certificate, digests in certificates.items()
            for digest in sorted(digests & still)
        }

    def without(self, bundle: Bundle, *, missing: Iterable[str], good: Mapping[str, str]) -> Bundle:
        """The bundle with the certificates that are ``missing`` as they are in ``good``.

        Those are the files of the bundle that nginx runs. A certificate that it doesn't have
        either lets handshakes fail.
        """
        present = self._present()
        exchanged = {
            name: text if named_in(text := good.get(name, "")) <= present and text else None
            for name in missing
        }
        return Bundle.of(
            {**bundle.files, **{name: text or NO_CERTIFICATE for name, text in exchanged.items()}},
            secrets=bundle.secrets,
        )

    def prune(self, bundles: Iterable[Mapping[str, str]]) -> None:
        """Delete what none of these bundles' files names."""
        named = [named_in(text) for files in bundles for text in files.values()]
        for digest in self._present().difference(*named):
            (self._folder / file_name(digest)).unlink()

    def _present(self) -> frozenset[str]:
        return frozenset(path.stem for path in self._folder.glob("*.pem"))

    async def _fetch(self, files: Iterable[SecretFile]) -> dict[str, str]:
        """Write what can be had; by SHA-256, why the rest can't."""
        reasons: dict[str, str] = {}
        try:
            async with asyncio.timeout(_TIMEOUT), open_session(self._settings) as session:
                for file in files:
                    reason = await self._fetch_one(session, file)
                    if reason is not None:
                        reasons[file.sha256] = f"Secret {file.secret}: {reason}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            words = str(error) or type(error).__name__
            reasons |= {
                file.sha256: f"Secret {file.secret}: {words}"
                for file in files
                if file.sha256 not in reasons
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
            content = content_of(data=raw.get("data") or {}, keys=file.keys)
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


def _certificates(files: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """What each certificate of a bundle names, by SHA-256."""
    return {
        name: named_in(text) for name, text in files.items() if name.startswith(CERTIFICATE_PREFIX)
    }
