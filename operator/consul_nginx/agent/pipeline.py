"""The agent's one straight line: ConfigMap → decode → Secrets → unpack → load → ``/status``.

One consumer, and only the newest ConfigMap is kept for it: whatever comes while a load is in flight
coalesces. Each step looks at what nginx runs instead of remembering it, so a restart of the agent,
of the supervisor or of nginx needs no special case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from consul_nginx.agent.api import ApiError
from consul_nginx.agent.blame import Blame
from consul_nginx.agent.decisions import (
    Adopt,
    Load,
    Refusal,
    decide,
    worth_a_retry,
    worth_a_search,
)
from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.secret_files import SecretFiles
from consul_nginx.agent.shards import Shards
from consul_nginx.agent.state import Rejection, Seen, Serving, Stage, State, Wanted
from consul_nginx.agent.supervisor_client import SupervisorClient, SupervisorUnreachableError
from consul_nginx.agent.unpack import Store
from consul_nginx.backoff import Backoff
from consul_nginx.model.bundle import Bundle, BundleError, Manifest
from consul_nginx.model.encoding import Content, IncompleteError, decode, manifest_of

POLL = 2.0
POLL_UNREACHABLE = 0.2
# A Secret that just changed has its own bundle in a moment; rights to read a new one come as soon.
SECRETS_PATIENCE = 10.0

# What nginx has against the part that can be served says more than what the rest waits for.
_OF_NGINX: frozenset[Stage] = frozenset({"test", "reload", "verify", "start", "supervisor"})


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """Monotonic for pauses, wall for what people read."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, kw_only=True)
class Postponed:
    """A ConfigMap that could not be taken (whole) yet: shards, Secrets or room were missing."""

    item: dict[str, Any]
    since: float
    until: float


class Pipeline:
    """Owns the state; ``offer`` feeds it, ``run`` turns it."""

    def __init__(
        self,
        *,
        store: Store,
        shards: Shards,
        secrets: SecretFiles,
        supervisor: SupervisorClient,
        blame: Blame,
        metrics: Metrics,
        log: Log,
        clocks: Clocks | None = None,
    ) -> None:
        self.state = State(unpacked=bool(store.hashes()))
        self._metrics = metrics
        self._store = store
        self._shards = shards
        self._secrets = secrets
        self._supervisor = supervisor
        self._blame = blame
        self._log = log
        self._clocks = clocks or Clocks()
        self._wake = asyncio.Event()
        self._newest: dict[str, Any] | None = None
        self._wanted: Wanted | None = None
        self._refusal: Refusal | None = None
        self._retries = Backoff(first=1.0, last=60.0)
        self._postponed: Postponed | None = None
        self._missing_since: dict[str, float] = {}
        self._postponements = Backoff(first=0.2, last=5.0)

    def offer(self, item: dict[str, Any] | None) -> None:
        """The ConfigMap as it is now; None when it was deleted."""
        if item is None:
            self._log.warning("the ConfigMap is not there: nginx goes on with what it runs")
            return
        self._newest = item
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            pause = await self.step()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def step(self) -> float:
        """Bring nginx to the newest bundle, as far as it goes; returns the pause until the next."""
        self._wake.clear()
        await self._take_newest()
        await self._look()
        action = decide(
            wanted=self._wanted,
            nginx=self.state.nginx,
            structure=self._structure_served(),
            refusal=self._refusal,
            now=self._clocks.monotonic(),
        )
        if isinstance(action, Load) and self._wanted:
            await self._load(self._wanted, action)
            await self._look()
        elif isinstance(action, Adopt) and self._wanted:
            self._accept(self._wanted)
        return self._pause()

    def _pause(self) -> float:
        pause = POLL if self.state.nginx else POLL_UNREACHABLE
        if self._postponed:
            pause = min(pause, max(0.0, self._postponed.until - self._clocks.monotonic()))
        return pause

    async def _take_newest(self) -> None:
        item, self._newest = self._newest, None
        if item is not None:
            self._postponed = None
            self._postponements.reset()
        elif self._postponed and self._clocks.monotonic() >= self._postponed.until:
            item = self._postponed.item
        if item is None:
            return
        try:
            manifest, bundle = await self._decode(item)
            missing = await self._secrets.provide(bundle)
            if missing:
                self._postpone(item, "secret", "; ".join(sorted(set(missing.values()))))
                if self._is_patient(missing):
                    return
                manifest, bundle = self._without(missing, manifest=manifest, bundle=bundle)
            await asyncio.to_thread(self._store.unpack, manifest=manifest, bundle=bundle)
        except (ApiError, IncompleteError) as error:
            self._postpone(item, "decode", str(error))
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            # Beyond BundleError: what people and hostile tools can write into a ConfigMap by hand.
            self._postponed = None
            self._see(_claimed(item))
            self._reject("decode", str(error) or type(error).__name__)
        except OSError as error:
            self._postpone(item, "unpack", str(error))
        else:
            self._wanted = Wanted(
                hash=manifest.hash, structure=manifest.structure, revision=manifest.revision
            )
            self.state = replace(self.state, unpacked=True)
            if not missing:
                self._postponed = None
                self._see(_claimed(item))
                self.state = replace(self.state, rejection=None)

    def _is_patient(self, missing: Mapping[str, str]) -> bool:
        """Whether one of these is missing for so short a time that it may yet come.

        It counts from when each was missed first: bundles that come in between don't begin anew.
        """
        now = self._clocks.monotonic()
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        return any(now - since < SECRETS_PATIENCE for since in self._missing_since.values())

    def _without(
        self, missing: Mapping[str, str], *, manifest: Manifest, bundle: Bundle
    ) -> tuple[Manifest, Bundle]:
        """What can be served of a bundle until its Secrets can be read."""
        serving = self.state.serving
        good = serving.hash if serving else self._store.last_served()
        partial = self._secrets.without(
            bundle, missing=missing, good=self._store.files(good) if good else {}
        )
        return replace(manifest, hash=partial.hash, structure=partial.structure), partial

    async def _decode(self, item: dict[str, Any]) -> tuple[Manifest, Bundle]:
        main = Content.of(item)
        shards = await self._shards.read(manifest_of(main))
        return await asyncio.to_thread(decode, main=main, shards=shards)

    def _postpone(self, item: dict[str, Any], stage: Stage, message: str) -> None:
        now = self._clocks.monotonic()
        if not self._postponed:
            self._see(_claimed(item))
        self._postponed = Postponed(
            item=item,
            since=self._postponed.since if self._postponed else now,
            until=now + self._postponements.next(),
        )
        before = self.state.rejection
        if not (stage == "secret" and before and before.stage in _OF_NGINX):
            self._reject(stage, message)

    def _see(self, seen: Seen) -> None:
        """A new ConfigMap: whatever was refused may be tried again."""
        self.state = replace(self.state, seen=seen)
        self._refusal = None
        self._retries.reset()

    async def _look(self) -> None:
        """What nginx runs now; the supervisor is the only one who knows."""
        try:
            nginx = await self._supervisor.status()
        except SupervisorUnreachableError as error:
            if self.state.nginx:
                self._log.warning("the supervisor does not answer", error=str(error))
            nginx = None
        self.state = replace(
            self.state, nginx=nginx, serving=self._serving(nginx.hash if nginx else None)
        )

    def _serving(self, digest: str | None) -> Serving | None:
        if digest is None:
            return None
        before = self.state.serving
        if before and before.hash == digest:
            since = before.since
        else:
            since = self._store.switched_at() or self._clocks.wall()
        return Serving(hash=digest, revision=self._revision(digest), since=since)

    def _revision(self, digest: str) -> int | None:
        """The newest revision of these bytes: it may have moved while the bytes did not."""
        if self._wanted and self._wanted.hash == digest:
            return self._wanted.revision
        manifest = self._store.manifest(digest)
        return manifest.revision if manifest else None

    def _structure_served(self) -> str | None:
        manifest = self._store.manifest(self.state.serving.hash) if self.state.serving else None
        return manifest.structure if manifest else None

    async def _load(self, wanted: Wanted, action: Load) -> None:
        started = self._clocks.monotonic()
        try:
            refused = await self._supervisor.load(wanted.hash, test=action.test)
        except SupervisorUnreachableError as error:
            self._log.warning("a load was not answered", hash=wanted.hash, error=str(error))
            return
        seconds = self._clocks.monotonic() - started
        if refused:
            self._metrics.load_failed(reason=action.reason)
            is_news = self._reject(refused.stage, refused.output)
            self._leave_alone(wanted)
            if is_news:
                await self._find_files(wanted)
        else:
            self._metrics.loaded(reason=action.reason, seconds=seconds)
            self._log.info(
                "nginx serves a new bundle",
                hash=wanted.hash,
                revision=wanted.revision,
                reason=action.reason,
                seconds=round(seconds, 3),
            )
            self._accept(wanted)
        self._prune()

    def _reject(self, stage: Stage, message: str) -> bool:
        """Tell it; False when it was told already, and has been tried again."""
        seen, before = self.state.seen or Seen(hash=None, revision=None), self.state.rejection
        rejection = Rejection(hash=seen.hash, revision=seen.revision, stage=stage, message=message)
        if not worth_a_search(rejection):
            rejection = replace(rejection, files=())
        if before and replace(rejection, files=before.files) == before:
            return False
        self.state = replace(self.state, rejection=rejection)
        self._metrics.rejected(stage)
        self._log.error(
            "rejected", hash=seen.hash, revision=seen.revision, stage=stage, message=message
        )
        return True

    async def _find_files(self, wanted: Wanted) -> None:
        """Say which files are to blame, unless something newer comes in between."""
        rejection = self.state.rejection
        if not rejection or rejection.files is not None:
            return
        serving = self.state.serving
        files = await self._blame.find(
            rejection=rejection,
            refused=wanted.hash,
            good=serving.hash if serving else self._store.last_served(),
            go_on=self._nothing_new,
        )
        if not self._newest:
            self.state = replace(self.state, rejection=replace(rejection, files=files))

    async def _nothing_new(self) -> bool:
        """Looks after nginx too, for a search may take a while."""
        await self._look()
        return self._newest is None

    def _leave_alone(self, wanted: Wanted) -> None:
        rejection, nginx = self.state.rejection, self.state.nginx
        retry = rejection is not None and worth_a_retry(rejection)
        self._refusal = Refusal(
            hash=wanted.hash,
            master=nginx.master if nginx else None,
            retry_at=self._clocks.monotonic() + self._retries.next() if retry else None,
        )

    def _accept(self, wanted: Wanted) -> None:
        """nginx runs it; a newer ConfigMap that can't be decoded stays rejected."""
        self._refusal = None
        self._store.mark_served(wanted.hash)
        rejection = self.state.rejection
        if rejection and rejection.stage not in ("decode", "secret", "unpack"):
            self.state = replace(self.state, rejection=None)

    def _prune(self) -> None:
        needed = (self.state.serving, self.state.seen, self._wanted)
        gone = self._store.prune(keep={one.hash for one in needed if one and one.hash})
        if gone:
            self._log.info("removed old bundles", bundles=gone)
        self._secrets.prune(map(self._store.files, self._store.hashes()))


def _claimed(item: dict[str, Any]) -> Seen:
    """What a ConfigMap's manifest says of itself, as far as it can be read."""
    try:
        manifest = manifest_of(Content.of(item))
    except (BundleError, TypeError, AttributeError):
        return Seen(hash=None, revision=None)
    return Seen(hash=manifest.hash, revision=manifest.revision)
