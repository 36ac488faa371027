"""Takes a snapshot of a Consul that runs; ``snapshots`` reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from consul_nginx.consul.api import Api
from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.fields import MalformedError, field_of
from consul_nginx.consul.transport import path_segment

# Every Consul has it, and a token that can be used at all may read it.
_EVERYWHERE = "catalog/service/consul"

Near = Mapping[tuple[str, str], str]
_NOWHERE: Near = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Asks one Consul by ``api``, whose datacenter is that of services which name none.

    Every method raises ``ConsulError``.
    """

    api: Api

    async def datacenter(self) -> str:
        """The datacenter that is asked when none is named."""
        if self.api.datacenter:
            return self.api.datacenter
        found = (await self.api.all(_EVERYWHERE)).found
        try:
            return field_of(found[0], "Datacenter", str)
        except (MalformedError, LookupError, TypeError) as error:
            raise ConsulRefused(
                "it does not say which datacenter is asked; name it by --consul-datacenter"
            ) from error

    async def names(self) -> tuple[tuple[str, ...], bool]:
        """Every service of the catalog, and whether the token may not read all of them."""
        read = await self.api.all("catalog/services")
        if not isinstance(read.found, dict):
            raise ConsulUnavailable("its list of services is none")
        if not read.found:
            # Consul itself is always on it; of what is kept from nobody's token it says nothing.
            raise ConsulRefused("it shows no service at all: the ACL token needs service:read")
        return tuple(sorted(read.found)), read.filtered

    async def entries(
        self, wanted: Iterable[tuple[str, str]], *, near: Near = _NOWHERE
    ) -> dict[str, Any]:
        """A snapshot of services, by datacenter and name; of each name once in any spelling.

        ``near`` has the nodes from which on the entries of services are sorted by distance.
        """
        datacenters: dict[str, dict[str, Any]] = {}
        async for datacenter, name, entries in self._ask(wanted, near):
            datacenters.setdefault(datacenter, {})[name] = entries
        return {
            "datacenters": {
                datacenter: {"services": services} for datacenter, services in datacenters.items()
            }
        }

    async def _ask(
        self, wanted: Iterable[tuple[str, str]], near: Near
    ) -> AsyncIterator[tuple[str, str, list[Any]]]:
        own = await self.datacenter()
        services = {(datacenter or own, name.lower()): name for datacenter, name in wanted}
        nodes = {
            (datacenter or own, name.lower()): node for (datacenter, name), node in near.items()
        }
        for (datacenter, _), name in sorted(services.items()):
            api = replace(self.api, datacenter=datacenter)
            node = nodes.get((datacenter, name.lower()))
            read = await api.all(
                f"health/service/{path_segment(name)}", params=[("near", node)] if node else []
            )
            if not isinstance(read.found, list):
                raise ConsulUnavailable(f"its answer for service {name} is no list")
            if read.filtered and not read.found:
                raise ConsulRefused(
                    f"the ACL token may not read service {name}: it needs service:read"
                )
            yield datacenter, name, read.found
