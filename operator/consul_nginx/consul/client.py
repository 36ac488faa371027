"""The questions we ask Consul."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from operator import attrgetter
from typing import Any

from consul.base import Consul, Response

from consul_nginx.consul.api import WAIT_S, Api, index_of, not_consuls, stated_index
from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.health import parse_instances
from consul_nginx.consul.questions import asked, value_of
from consul_nginx.consul.transport import Callback, PooledTransport, path_segment
from consul_nginx.model.consul import Instance, ServiceQuery
from consul_nginx.model.facts import Question, Value

# Coordinates wake nobody: who is near, and whether that can be told, is asked again that often.
NEAR_WAIT_S = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Consul's answer to a query, with the index to wait on for the next one.

    ``nearest_first``: Consul knows where the query's node is, and the instances are sorted by it.
    """

    index: int
    instances: tuple[Instance, ...]
    nearest_first: bool = False


class ConsulClient(Consul):  # type: ignore[misc] # python-consul2 has no types
    """python-consul2's endpoints over our transport, plus the parameters it doesn't know."""

    def __init__(
        self,
        *,
        http: PooledTransport,
        datacenter: str | None = None,
        secret_token: str | None = None,
    ) -> None:
        # Not the base's constructor: it lets CONSUL_HTTP_* of the environment override arguments.
        self.http = http
        self.dc = datacenter
        self.token = None
        self.consistency = "default"
        self._api = Api(http=http, datacenter=datacenter, secret_token=secret_token)

    async def service(
        self, *, query: ServiceQuery, index: int = 0, consistent: bool = False
    ) -> Answer:
        """Instances that ``query`` asks for; with ``index`` > 0 blocks until it moves.

        Ordinary reads are answered by the leader, ``consistent`` ones are confirmed by a quorum.
        Raises ``ConsulUnavailable`` or ``ConsulRefused``.
        """
        # ``near`` keeps Consul from answering out of a stream, which may be 100 ms behind; of the
        # agent's own node the order that it asks for means nothing to us.
        params = [("near", query.near or "_agent")]
        params += [("consistent", "")] if consistent else []
        params += [("tag", tag) for tag in query.tags]
        params += [("filter", query.filter)] if query.filter else []
        params += [("ns", query.namespace)] if query.namespace else []
        params += [("partition", query.partition)] if query.partition else []
        # First: the order of an answer without news is that of the moment it was asked for.
        located = bool(query.near) and await self._is_located(query)
        answer: Answer = await self._read(
            partial(_answer, nearest_first=located),
            place=f"health/service/{path_segment(query.service)}",
            params=params,
            datacenter=query.datacenter,
            index=index,
            wait=NEAR_WAIT_S if query.near else WAIT_S,
        )
        return answer

    async def _is_located(self, query: ServiceQuery) -> bool:
        """Whether Consul has coordinates of a query's node.

        Where it has none it sorts by nothing, and does not say so. None are those of a node that
        the token may not read, and of all when they are disabled.
        """
        try:
            code: int = await self._read(
                attrgetter("code"),
                place=f"coordinate/node/{path_segment(query.near)}",
                params=[("partition", query.partition)] if query.partition else [],
                datacenter=query.datacenter,
                index=0,
            )
        except ConsulRefused:
            return False
        return code == HTTPStatus.OK

    async def fact(
        self, *, question: Question, index: int = 0, consistent: bool = False
    ) -> tuple[int, Value]:
        """Index, 0 where Consul tells none, and answer to a template's question.

        As ``service``.
        """
        request = asked(question)

        def read(response: Response) -> tuple[int, Value]:
            told = "X-Consul-Index" in response.headers
            return stated_index(response) if told else 0, value_of(response, asked=request)

        found: tuple[int, Value] = await self._read(
            read,
            place=request.place,
            params=[*request.params, *([("consistent", "")] if consistent else [])],
            datacenter=question.datacenter,
            index=index,
        )
        return found

    async def moved(self, *, place: str, datacenter: str, index: int) -> int:
        """Block until something in ``place`` moves on from ``index``; returns where it is now.

        ``place`` is a path such as ``catalog/services``; what is in it is not told, as far as a
        filter can prevent it. Raises ``ConsulUnavailable`` or ``ConsulRefused``.
        """
        found: int = await self._read(
            index_of,
            place=place,
            params=[("filter", _FILTERS[place])] if place in _FILTERS else [],
            datacenter=datacenter,
            index=index,
        )
        return found

    async def _read(
        self,
        callback: Callback,
        *,
        place: str,
        params: list[tuple[str, str]],
        datacenter: str,
        index: int,
        wait: int = WAIT_S,
    ) -> Any:
        """Read ``place``, in the client's own datacenter when none is named."""
        api = replace(self._api, datacenter=datacenter) if datacenter else self._api
        return await api.ask(callback, place, params=params, index=index, wait=wait)


# Conditions that nothing fulfils: only the index is of interest.
_FILTERS = {"health/state/any": 'CheckID == "\\n"', "catalog/nodes": 'Node == "\\n"'}


def _answer(response: Response, *, nearest_first: bool) -> Answer:
    """Consul's answer; raises for what is none, or one that says less than it seems to.

    An unknown service is an empty list, never 404: that is a proxy's, and must not look empty. A
    token without ``service:read`` gets an empty list as well, but with a header that says so.
    """
    # An index is at least 1: 0 would mean "don't block" (Consul: blocking queries).
    index = index_of(response)
    try:
        instances = parse_instances(json.loads(response.body), as_answered=nearest_first)
    except (ValueError, LookupError, RecursionError) as error:
        raise not_consuls(response) from error
    if not instances and response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
        raise ConsulRefused("the ACL token may not read this service: it needs service:read")
    return Answer(index=index, instances=instances, nearest_first=nearest_first)
