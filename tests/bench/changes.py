"""The changes that are made in Consul: what each writes, and who answers before and after. Pure.

At any time one instance of the service passes its check, so every single answer tells whether it
comes from before or after a change. A change is one transaction, of three kinds in turns:

replaced   the instance is deregistered and another one registered, with a passing check
check      its check turns critical, and that of another instance turns passing
moved      it is registered anew at another port
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

NODE = "bench"

Operation = dict[str, Any]


class Kind(Enum):
    """What happens to the instance that is served."""

    REPLACED = "replaced"
    CHECK = "check"
    MOVED = "moved"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One transaction; ``old`` and ``new`` are the ports served before and after it."""

    kind: Kind
    operations: tuple[Operation, ...]
    old: int
    new: int


@dataclass(frozen=True, kw_only=True)
class _Instance:
    id: str
    port: int


class Service:
    """One service of a node that no agent looks after; ``ports`` are used in turns."""

    def __init__(self, *, name: str, address: str, ports: range) -> None:
        self._name = name
        self._address = address
        self._ports = itertools.cycle(ports)
        self._numbers = itertools.count()
        self._served = self._fresh()
        self._spare = self._fresh()

    def registration(self) -> tuple[Operation, ...]:
        """The beginning: one instance passes, one is critical."""
        node = {"Node": NODE, "Address": self._address}
        return (
            {"Node": {"Verb": "set", "Node": node}},
            *self._registered(self._served, passing=True),
            *self._registered(self._spare, passing=False),
        )

    @property
    def port(self) -> int:
        """The port that is served now."""
        return self._served.port

    def changes(self) -> Iterator[Change]:
        """Changes without end, each from where the one before it led to."""
        for kind in itertools.cycle(Kind):
            before = self._served
            operations = tuple(self._change(kind))
            yield Change(kind=kind, operations=operations, old=before.port, new=self._served.port)

    def _change(self, kind: Kind) -> Iterator[Operation]:
        before = self._served
        match kind:
            case Kind.REPLACED:
                self._served, gone = self._fresh(), self._spare
                self._spare = self._fresh()
                yield self._deleted(before)
                yield self._deleted(gone)
                yield from self._registered(self._served, passing=True)
                yield from self._registered(self._spare, passing=False)
            case Kind.CHECK:
                self._served, self._spare = self._spare, self._served
                yield self._check(self._spare, passing=False)
                yield self._check(self._served, passing=True)
            case Kind.MOVED:
                self._served = _Instance(id=before.id, port=next(self._ports))
                yield self._set(self._served)

    def _fresh(self) -> _Instance:
        return _Instance(id=f"{self._name}-{next(self._numbers)}", port=next(self._ports))

    def _registered(self, instance: _Instance, *, passing: bool) -> Iterator[Operation]:
        yield self._set(instance)
        yield self._check(instance, passing=passing)

    def _set(self, instance: _Instance) -> Operation:
        service = {
            "ID": instance.id,
            "Service": self._name,
            "Address": self._address,
            "Port": instance.port,
        }
        return {"Service": {"Verb": "set", "Node": NODE, "Service": service}}

    def _check(self, instance: _Instance, *, passing: bool) -> Operation:
        check = {
            "Node": NODE,
            "CheckID": f"check-{instance.id}",
            "Name": "bench",
            "ServiceID": instance.id,
            "Status": "passing" if passing else "critical",
        }
        return {"Check": {"Verb": "set", "Check": check}}

    def _deleted(self, instance: _Instance) -> Operation:
        service = {"ID": instance.id, "Service": self._name}
        return {"Service": {"Verb": "delete", "Node": NODE, "Service": service}}
