"""Writes to Consul's catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from bench.changes import NODE, Operation
from cluster.harness.report import HarnessError


class Consul:
    """Consul's servers over one connection."""

    def __init__(self, *, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def write(self, operations: Sequence[Operation]) -> None:
        """One transaction: all of it at once."""
        await self._put("/v1/txn", list(operations))

    async def forget(self) -> None:
        """Remove the node with everything on it."""
        await self._put("/v1/catalog/deregister", {"Node": NODE})

    async def _put(self, path: str, body: object) -> None:
        async with self._session.put(f"{self._address}{path}", json=body) as answer:
            if answer.status != 200:
                raise HarnessError(f"Consul: HTTP {answer.status} {await answer.text()}")


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Consul]:
    """Consul without the bench's node, before and after."""
    async with aiohttp.ClientSession() as session:
        consul = Consul(session=session, address=address)
        await consul.forget()
        try:
            yield consul
        finally:
            await consul.forget()
