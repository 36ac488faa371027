"""Which Consul a query goes to: the operator's, or one that a LoadBalancer names.

The operator's token is bound to the operator's address: whoever may write a LoadBalancer could
otherwise have it sent to an address of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from consul_nginx.consul.client import Answer, ConsulClient
from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ConsulSource, ServiceQuery
from consul_nginx.model.facts import Question, Value

ReadToken = Callable[[str, str, str], Awaitable[str]]


class ConsulSources:
    """A client for every Consul; others than the operator's are opened when they are asked first.

    ``read_token`` gets namespace, name and key of a Secret and raises ``ConsulError``. A token is
    read again when Consul refuses it.
    """

    def __init__(
        self,
        *,
        own: ConsulClient,
        connect: Callable[[str], PooledTransport],
        read_token: ReadToken,
    ) -> None:
        self._own = own
        self._connect = connect
        self._read_token = read_token
        self._transports: dict[str, PooledTransport] = {}
        self._clients: dict[ConsulSource, ConsulClient] = {}

    async def service(
        self, *, query: ServiceQuery, index: int = 0, consistent: bool = False
    ) -> Answer:
        """See ``ConsulClient.service``."""
        if not query.source.address:
            return await self._own.service(query=query, index=index, consistent=consistent)
        client = await self._client(query.source)
        try:
            return await client.service(query=query, index=index, consistent=consistent)
        except ConsulRefused:
            self._clients.pop(query.source, None)
            raise

    async def fact(
        self, *, question: Question, index: int = 0, consistent: bool = False
    ) -> tuple[int, Value]:
        """See ``ConsulClient.fact``."""
        if not question.source.address:
            return await self._own.fact(question=question, index=index, consistent=consistent)
        client = await self._client(question.source)
        try:
            return await client.fact(question=question, index=index, consistent=consistent)
        except ConsulRefused:
            self._clients.pop(question.source, None)
            raise

    async def moved(self, *, place: str, source: ConsulSource, datacenter: str, index: int) -> int:
        """See ``ConsulClient.moved``."""
        client = self._own if not source.address else await self._client(source)
        return await client.moved(place=place, datacenter=datacenter, index=index)

    async def close(self) -> None:
        """Close the connections to other Consuls than the operator's."""
        for transport in self._transports.values():
            await transport.close()

    async def _client(self, source: ConsulSource) -> ConsulClient:
        if source not in self._clients:
            token = await self._read_token(*source.token_secret) if source.token_secret else None
            http = self._transport(source.address)
            self._clients[source] = ConsulClient(http=http, secret_token=token)
        return self._clients[source]

    def _transport(self, address: str) -> PooledTransport:
        if address not in self._transports:
            try:
                self._transports[address] = self._connect(address)
            except ValueError as error:
                raise ConsulRefused(f"spec.consul.address: {address}: {error}") from error
        return self._transports[address]
