"""What became of writes: counted, and told to who asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consul_nginx.consul.errors import ConsulConflict, ConsulError
from consul_nginx.consul.registered import words
from consul_nginx.metrics import REGISTRATION_WRITES


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of the writes for one Kubernetes node; each is counted in the metrics once."""

    refused: dict[str, str] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def wrote(self, kind: str) -> None:
        """Consul has it."""
        REGISTRATION_WRITES.labels(kind=kind, result="success").inc()

    def refuse(self, kind: str, service_id: str, *, reason: str) -> None:
        """Consul doesn't take it, in its own words."""
        REGISTRATION_WRITES.labels(kind=kind, result="refused").inc()
        self.refused[service_id] = words(reason)

    def conflict(self, kind: str, service_id: str, *, reason: str) -> None:
        """It isn't any longer as it was read."""
        REGISTRATION_WRITES.labels(kind=kind, result="conflict").inc()
        self.conflicts.append(f"{service_id}: {words(reason)}")

    def failed(self, kind: str, error: ConsulError) -> None:
        """It was in a request that failed as a whole."""
        REGISTRATION_WRITES.labels(kind=kind, result=error.kind).inc()

    def told(self) -> Mapping[str, str]:
        """Reasons by ID; raises ``ConsulConflict`` when something is to be read again."""
        if self.conflicts:
            raise ConsulConflict("; ".join(self.conflicts[:3]))
        return self.refused
