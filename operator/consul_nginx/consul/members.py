"""Consul's agents, as they know each other by gossip."""

from __future__ import annotations

from consul_nginx.consul.api import Api
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.model.registration import Place

# Serf's number for it; others have left or failed.
_ALIVE = 1


async def members(api: Api) -> tuple[Place, ...]:
    """Every living agent: the name that it has in Consul, and its address.

    A token may be sent there: whoever is a member has the gossip's key, while anybody with
    ``node:write`` can put an address of their own into the catalog. Raises ``ConsulError``.
    """
    found = (await api.all("agent/members")).found
    if type(found) is not list:
        raise malformed("no list of members")
    try:
        return tuple(
            Place(node=field_of(member, "Name", str), ip=field_of(member, "Addr", str))
            for member in found
            if field_of(member, "Status", int) == _ALIVE
        )
    except MalformedError as error:
        raise malformed(error) from error
