"""Registrations on the Consul agent of a Pod's own node, which runs their checks."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from consul.base import Response

from consul_nginx.consul import registered
from consul_nginx.consul.api import Api, not_consuls
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.consul.outcome import Outcome
from consul_nginx.consul.transport import PooledTransport, id_segment
from consul_nginx.model.registration import (
    META_CLUSTER,
    META_POD_UID,
    Changes,
    Held,
    Place,
    Registration,
)

DEFAULT_PORT = 8500
# Of clusters with more nodes, those that were written to last stay connected.
MAX_AGENTS = 256
# An agent turns a TTL check critical when nobody refreshes it. Nobody need: ten years.
_FOR_EVER = "87600h"


@dataclass(kw_only=True)
class _Agent:
    http: PooledTransport
    users: int = 0


class AgentRegistrations:
    """Reads and writes what the agents hold; ``connect`` opens the transport to a base URL.

    Agents know no versions. What fences a removal is that it reads first, and goes ahead only if
    the registration still carries the same Pod's UID.
    """

    def __init__(
        self,
        *,
        cluster: str,
        connect: Callable[[str], PooledTransport],
        secret_token: str | None = None,
        scheme: str = "http",
        port: int = DEFAULT_PORT,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._connect = connect
        self._secret_token = secret_token
        self._scheme = scheme
        self._port = port
        self._may_write = may_write
        self._agents: OrderedDict[str, _Agent] = OrderedDict()

    async def close(self) -> None:
        """Close every connection."""
        while self._agents:
            _, agent = self._agents.popitem()
            await agent.http.close()

    async def read(self, place: Place) -> Mapping[str, Held]:
        """Everything that the node's agent holds, by ID. Raises ``ConsulError``."""
        async with self._agent(place) as api:
            services = await api.all("agent/services")
            checks = await api.all("agent/checks")
        if type(services.found) is not dict or type(checks.found) is not dict:
            raise malformed("no services or checks by ID")
        return registered.held(
            services=services.found.values(), checks=checks.found.values(), cluster=self._cluster
        )

    async def apply(self, place: Place, changes: Changes) -> Mapping[str, str]:
        """Write ``changes``; what Consul refuses is returned by ID, with its reason.

        Raises ``ConsulConflict`` when something was to be written that is no longer there, or was
        to be removed that is another Pod's by now; everything else was written then. Raises
        ``ConsulUnavailable`` as soon as the agent is.
        """
        outcome = Outcome()
        async with self._agent(place) as api:
            for change in changes.register:
                wanted = change.after
                await _attempt(outcome, "register", wanted.content.id, _register(api, wanted))
            for change in changes.readiness:
                service_id, ready = change.after.content.id, change.after.ready
                await _attempt(outcome, "readiness", service_id, _tell(api, service_id, ready))
            for held in changes.remove:
                await _attempt(outcome, "deregister", held.content.id, _remove(api, held))
        return outcome.told()

    async def tidy(self, place: Place) -> bool:  # noqa: ARG002 - as the catalog's registry
        """An agent's node is Consul's own: there is nothing to remove."""
        return False

    async def refresh(self, place: Place, ready: Mapping[str, bool]) -> Mapping[str, str]:
        """Refresh the TTL checks of registrations, by ID, with their Pods' readiness.

        Returns and raises as ``apply`` does.
        """
        outcome = Outcome()
        async with self._agent(place) as api:
            for service_id, is_ready in ready.items():
                await _attempt(outcome, "refresh", service_id, _tell(api, service_id, is_ready))
        return outcome.told()

    @asynccontextmanager
    async def _agent(self, place: Place) -> AsyncIterator[Api]:
        url = self._url(place)
        agent = self._agents.get(url)
        if agent is None:
            agent = self._agents[url] = _Agent(http=self._connect(url))
        self._agents.move_to_end(url)
        agent.users += 1
        try:
            await self._close_least_used()
            yield Api(http=agent.http, secret_token=self._secret_token, may_write=self._may_write)
        finally:
            agent.users -= 1

    def _url(self, place: Place) -> str:
        try:
            ip = ipaddress.ip_address(place.ip)
        except ValueError as error:
            raise ConsulUnavailable(
                f"node {place.node}: its address {place.ip!r} is none (yet)"
            ) from error
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        return f"{self._scheme}://{host}:{self._port}"

    async def _close_least_used(self) -> None:
        while len(self._agents) > MAX_AGENTS:
            idle = next((url for url, agent in self._agents.items() if not agent.users), None)
            if idle is None:
                return
            await self._agents.pop(idle).http.close()


async def _attempt(
    outcome: Outcome, kind: str, service_id: str, write: Awaitable[str | None]
) -> None:
    """Wait for one ``write``, which returns why it wasn't made when things are not as read."""
    try:
        conflict = await write
    except ConsulRefused as error:
        outcome.refuse(kind, service_id, reason=str(error))
    except ConsulUnavailable as error:
        outcome.failed(kind, error)
        raise
    else:
        if conflict:
            outcome.conflict(kind, service_id, reason=conflict)
        else:
            outcome.wrote(kind)


async def _register(api: Api, registration: Registration) -> str | None:
    content = registration.content
    # An ID that can't be part of a path could be registered, and never be removed.
    id_segment(content.id)
    answer = await api.put(
        "agent/service/register",
        params=[("replace-existing-checks", "true")],
        body={
            **registered.service(registration, name_key="Name"),
            "Checks": list(_checks(registration)),
        },
    )
    if answer.code != HTTPStatus.OK:
        raise not_consuls(answer)
    # The agent gives a check that it knows the status that it had.
    return await _tell(api, content.id, registration.ready)


def _checks(registration: Registration) -> Iterator[dict[str, Any]]:
    check = registration.check
    is_ttl = check and check.ttl and check.fingerprint in registration.content.checks
    definition = check.definition if check and is_ttl else {"TTL": _FOR_EVER}
    yield {
        **definition,
        **registered.readiness(registration),
        "Status": registered.status(ready=registration.ready)["Status"],
    }
    if asked := registered.asked_for(registration):
        yield {**asked.definition, **registered.asked(registration, asked)}


async def _tell(api: Api, service_id: str, ready: bool) -> str | None:
    check = id_segment(registered.readiness_id(service_id))
    answer = await api.put(f"agent/check/update/{check}", body=registered.status(ready=ready))
    return _unknown(answer)


async def _remove(api: Api, held: Held) -> str | None:
    service_id = id_segment(held.content.id)
    found = await api.get(f"agent/service/{service_id}")
    if found is None:
        return None
    try:
        meta = field_of(found.found, "Meta", dict, {})
    except MalformedError as error:
        raise malformed(error) from error
    if any(meta.get(mark) != held.content.meta.get(mark) for mark in (META_CLUSTER, META_POD_UID)):
        return "somebody else registered this ID meanwhile"
    # That it is gone by now is as good.
    _unknown(await api.put(f"agent/service/deregister/{service_id}"))
    return None


def _unknown(answer: Response) -> str | None:
    """None when it was done, Consul's words when it doesn't know of the ID (any more)."""
    if answer.code == HTTPStatus.OK:
        return None
    if answer.code == HTTPStatus.NOT_FOUND and answer.body.startswith("Unknown "):
        return str(answer.body)
    raise not_consuls(answer)
