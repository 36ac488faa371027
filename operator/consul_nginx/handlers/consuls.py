"""Connections to Consul: what is read from, and what registrations are written to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.members import members
from consul_nginx.consul.presence import present
from consul_nginx.consul.sources import ConsulSources, ReadToken
from consul_nginx.consul.synthetic import CatalogRegistrations
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.loops.drift import Witness
from consul_nginx.model.registration import Place, RegistrationSettings
from consul_nginx.resources.registration import RegistrationFile
from consul_nginx.settings import OperatorSettings


@dataclass(frozen=True, kw_only=True)
class Consuls:
    """What registrations need is made once the cluster's name is known."""

    sources: ConsulSources
    catalog: Callable[[RegistrationSettings], CatalogRegistrations]
    agents: Callable[[RegistrationFile], AgentRegistrations]
    witness: Callable[[RegistrationSettings], Witness]
    members: Callable[[], Awaitable[tuple[Place, ...]]]


@asynccontextmanager
async def consuls(
    *, settings: OperatorSettings, read_token: ReadToken, may_write: Callable[[], None]
) -> AsyncIterator[Consuls]:
    """Connections that last as long as the context; ``may_write`` raises when there is no lead."""

    def connect(address: str) -> PooledTransport:
        return PooledTransport(address=address, ca_file=settings.consul_ca_file)

    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(connect(settings.consul_address))
        sources = ConsulSources(
            own=ConsulClient(
                http=transport,
                datacenter=settings.consul_datacenter,
                secret_token=settings.consul_token,
            ),
            connect=connect,
            read_token=read_token,
        )
        stack.push_async_callback(sources.close)
        api = Api(
            http=transport,
            datacenter=settings.consul_datacenter,
            secret_token=settings.consul_token,
            may_write=may_write,
        )

        def agents(registration: RegistrationFile) -> AgentRegistrations:
            made = AgentRegistrations(
                cluster=registration.settings.cluster,
                connect=connect,
                secret_token=settings.consul_token,
                scheme=registration.agent_scheme,
                port=registration.agent_port,
                may_write=may_write,
            )
            stack.push_async_callback(made.close)
            return made

        yield Consuls(
            sources=sources,
            catalog=lambda registration: CatalogRegistrations(
                cluster=registration.cluster, api=api, esm=registration.esm
            ),
            agents=agents,
            witness=lambda registration: partial(present, api=api, cluster=registration.cluster),
            members=partial(members, api),
        )
