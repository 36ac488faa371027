"""Which replica writes: a Lease, held as client-go's leader election holds it.

Every replica watches and plans; only the one that holds the Lease writes. The holder may write
until ``RENEW_DEADLINE_S`` after the start of its last renewal, by its own monotonic clock; others
take over ``LEASE_S`` after they saw the last renewal, by theirs. No clock is compared with another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from consul_nginx.kube.client import LEASE, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict, KubeError, NotLeading
from consul_nginx.model.kubernetes import ObjectRef

_log = logging.getLogger(__name__)

LEASE_S = 10
RENEW_DEADLINE_S = 6.0
RETRY_S = 1.5


class Lead(Protocol):
    """Whether this replica may write."""

    @property
    def leading(self) -> bool:
        """Whether this replica may write at this moment."""

    def require(self) -> None:
        """Raise ``NotLeading`` unless this replica leads by its own clock."""

    async def confirm(self) -> None:
        """Ask the API server who leads; raises ``NotLeading`` when it is somebody else."""


class AlwaysLeading:
    """The lead of an operator that runs alone, outside of a cluster."""

    leading = True

    def require(self) -> None:
        """Never raises."""

    async def confirm(self) -> None:
        """Never raises."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A state of the Lease, and when this replica saw it for the first time."""

    holder: str
    renewed: str
    at: float


class LeaseElector:
    """Tries to hold the Lease as long as it runs; ``changed`` is told when it begins and ends."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        ref: ObjectRef,
        identity: str,
        changed: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._ref = ref
        self._identity = identity
        self._changed = changed
        self._clock = clock
        self._seen: _Seen | None = None
        self._valid_until = float("-inf")
        self._leading = False

    @property
    def leading(self) -> bool:
        """Whether this replica may write at this moment."""
        return self._clock() < self._valid_until

    def require(self) -> None:
        """See ``Lead``."""
        if not self.leading:
            raise NotLeading(f"{self._seen.holder if self._seen else 'another replica'} leads")

    async def confirm(self) -> None:
        """See ``Lead``."""
        raw = await self._kube.get(LEASE, self._ref)
        if raw is None or raw["spec"].get("holderIdentity") != self._identity:
            self._lose()
        self.require()

    async def run(self) -> None:
        """Never returns; an API server that does not answer is asked again."""
        while True:
            try:
                await self._try()
            except KubeConflict:
                _log.debug("another replica wrote the Lease first")
            except KubeError as error:
                _log.warning("the Lease %s can't be renewed: %s", self._ref, error)
            self._notice()
            await asyncio.sleep(RETRY_S)

    async def release(self) -> None:
        """Give the Lease back, so that the next replica need not wait for its end."""
        if not self.leading:
            return
        self._lose()
        try:
            raw = await self._kube.get(LEASE, self._ref)
            if raw is not None and raw["spec"].get("holderIdentity") == self._identity:
                await self._kube.replace(LEASE, self._renewed(raw, holder=""))
        except KubeError as error:
            _log.warning("the Lease %s could not be given back: %s", self._ref, error)

    async def _try(self) -> None:
        started = self._clock()
        raw = await self._kube.get(LEASE, self._ref)
        if raw is None:
            await self._kube.create(LEASE, self._renewed(None, holder=self._identity))
        elif self._is_free(raw):
            await self._kube.replace(LEASE, self._renewed(raw, holder=self._identity))
        else:
            self._lose()
            return
        self._valid_until = started + RENEW_DEADLINE_S

    def _is_free(self, raw: Raw) -> bool:
        """Ours, given back, or not renewed for its whole duration while we looked."""
        spec = raw["spec"]
        holder, renewed = spec.get("holderIdentity") or "", str(spec.get("renewTime"))
        if self._seen is None or (self._seen.holder, self._seen.renewed) != (holder, renewed):
            self._seen = _Seen(holder=holder, renewed=renewed, at=self._clock())
        duration = spec.get("leaseDurationSeconds") or LEASE_S
        return holder in ("", self._identity) or self._clock() - self._seen.at > duration

    def _renewed(self, raw: Raw | None, *, holder: str) -> dict[str, Any]:
        before = raw["spec"] if raw is not None else {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == holder
        metadata: dict[str, Any] = {"namespace": self._ref.namespace, "name": self._ref.name}
        if raw is not None:
            metadata["resourceVersion"] = raw["metadata"]["resourceVersion"]
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": LEASE_S,
                "acquireTime": before.get("acquireTime", now) if same else now,
                "renewTime": now,
                "leaseTransitions": before.get("leaseTransitions", 0) + (not same and bool(holder)),
            },
        }

    def _lose(self) -> None:
        self._valid_until = float("-inf")
        self._notice()

    def _notice(self) -> None:
        """Tell of a change once."""
        if self.leading == self._leading:
            return
        self._leading = self.leading
        _log.info("this replica leads" if self._leading else "this replica leads no longer")
        self._changed(self._leading)
