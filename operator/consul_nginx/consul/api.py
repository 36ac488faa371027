"""Reading from and writing to one Consul: blocking queries, JSON, and what is no answer of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from consul.base import Response

from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.consul.transport import DEFAULT_TIMEOUT_S, Callback, PooledTransport

WAIT_S = 300
# Consul adds up to wait/16 of jitter to a blocking query.
BLOCKING_TIMEOUT_S = WAIT_S * 17 / 16 + 5

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

    async def ask(
        self,
        read: Callback,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        index: int = 0,
        wait: int = WAIT_S,
    ) -> Any:
        """What ``read`` makes of the answer to ``path``, after ``/v1/``.

        With ``index`` > 0 Consul answers once it moved on from there, or after ``wait`` seconds.
        """
        asked = [*params, *self._datacenter()]
        if index:
            asked += [("index", str(index)), ("wait", f"{wait}s")]
        return await self.http.get(
            read,
            path=f"/v1/{path}",
            params=asked,
            headers=self._headers(),
            within=BLOCKING_TIMEOUT_S if index else DEFAULT_TIMEOUT_S,
        )

    async def get(
        self, path: str, *, params: Sequence[tuple[str, str]] = (), index: int = 0
    ) -> Read | None:
        """Read ``path`` as ``ask`` does. None: there is none."""
        read: Read | None = await self.ask(_read, path, params=params, index=index)
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


def index_of(response: Response) -> int:
    """The index of an answer, at least 1; raises ``ConsulUnavailable`` for what is no answer."""
    if response.code != HTTPStatus.OK:
        raise not_consuls(response)
    return stated_index(response)


def stated_index(response: Response) -> int:
    """As ``index_of``, whatever the answer's status."""
    try:
        return max(int(response.headers["X-Consul-Index"]), 1)
    except (ValueError, LookupError) as error:
        raise not_consuls(response) from error


def not_consuls(response: Response) -> ConsulUnavailable:
    """The error for what no Consul answers."""
    return ConsulUnavailable(
        f"HTTP {response.code}, and not an answer of Consul's: {response.body[:100]!r}"
    )


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
