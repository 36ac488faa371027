"""JSON to and from one Consul: what registrations are read and written with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from consul.base import Response

from consul_nginx.consul.client import BLOCKING_TIMEOUT_S, WAIT_S, index_of, not_consuls
from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.consul.transport import DEFAULT_TIMEOUT_S, PooledTransport

_FILTERED = "X-Consul-Results-Filtered-By-ACLs"


@dataclass(frozen=True, kw_only=True)
class Read:
    """What Consul answers to a question.

    ``index`` is where to wait from, 0 where an agent has none; ``filtered``: the token may not read
    all of it.
    """

    found: Any
    index: int
    filtered: bool


@dataclass(frozen=True, kw_only=True)
class Api:
    """One Consul address, with the token and the datacenter that requests to it carry.

    ``may_write`` is called before every write and raises when there must be none. Every method
    raises ``ConsulUnavailable`` or ``ConsulRefused``.
    """

    http: PooledTransport
    datacenter: str | None = None
    secret_token: str | None = None
    may_write: Callable[[], None] = lambda: None

    async def get(
        self, path: str, *, params: Sequence[tuple[str, str]] = (), index: int = 0
    ) -> Read | None:
        """Read ``path``, after ``/v1/``; with ``index`` > 0 once it moved. None: there is none."""
        asked = [*params, *self._datacenter()]
        if index:
            asked += [("index", str(index)), ("wait", f"{WAIT_S}s")]
        read: Read | None = await self.http.get(
            _read,
            path=f"/v1/{path}",
            params=asked,
            headers=self._headers(),
            within=BLOCKING_TIMEOUT_S if index else DEFAULT_TIMEOUT_S,
        )
        return read

    async def all(
        self, path: str, *, params: Sequence[tuple[str, str]] = (), index: int = 0
    ) -> Read:
        """As ``get``, of what is always there."""
        read = await self.get(path, params=params, index=index)
        if read is None:
            raise ConsulUnavailable(f"HTTP 404 for /v1/{path}, which every Consul has")
        return read

    async def put(
        self, path: str, *, body: Any = None, params: Sequence[tuple[str, str]] = ()
    ) -> Response:
        """Write; the answer's code is 200, 404 or 409."""
        self.may_write()
        answer: Response = await self.http.put(
            _written,
            path=f"/v1/{path}",
            params=[*params, *self._datacenter()],
            data=b"" if body is None else encoded(body),
            headers=self._headers(),
        )
        return answer

    def _datacenter(self) -> list[tuple[str, str]]:
        return [("dc", self.datacenter)] if self.datacenter else []

    def _headers(self) -> dict[str, str]:
        return {"X-Consul-Token": self.secret_token} if self.secret_token else {}


def encoded(body: Any) -> bytes:
    """As it is sent."""
    return json.dumps(body, separators=(",", ":")).encode()


def decoded(response: Response) -> Any:
    """What a body says; raises ``ConsulUnavailable`` when it is no JSON."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise not_consuls(response) from error


def _read(response: Response) -> Read | None:
    # A proxy's 404 has no JSON and no "unknown": Consul's own says what it doesn't know.
    if response.code == HTTPStatus.NOT_FOUND and response.body.startswith("unknown "):
        return None
    if response.code != HTTPStatus.OK:
        raise not_consuls(response)
    return Read(
        found=decoded(response),
        index=index_of(response) if "X-Consul-Index" in response.headers else 0,
        filtered=response.headers.get(_FILTERED) == "true",
    )


def _written(response: Response) -> Response:
    if response.code not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        raise not_consuls(response)
    return response
