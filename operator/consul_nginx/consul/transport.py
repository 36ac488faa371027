"""The transport under python-consul2: one pooled aiohttp session, errors as values of ours.

python-consul2's endpoint methods return whatever the transport's ``get`` and ``put`` return; ours
return coroutines, which makes every endpoint method awaitable.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partialmethod
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
from consul.base import HTTPClient, Response
from yarl import URL

from consul_nginx.consul.errors import ConsulRefused, ConsulUnavailable
from consul_nginx.consul.metering import metered
from consul_nginx.sockets import watchful_socket

Params = Sequence[tuple[str, str]]
Callback = Callable[[Response], Any]

CONNECT_TIMEOUT_S = 5.0
DEFAULT_TIMEOUT_S = 10.0
# Consul's own default limit is 200 connections per client (limits.http_max_conns_per_client).
MAX_CONNECTIONS = 180
# 20,000 instances of one service; without a bound, a Consul that a LoadBalancer names could fill
# the operator's memory.
MAX_ANSWER_BYTES = 32 << 20

_TOO_MANY_REQUESTS = 429
# Consul has no status of its own for a filter that it can't read: it answers 500.
_BAD_FILTER = "Failed to create boolean expression evaluator: "
# That something isn't there, or that a transaction was not made, is an answer.
_ANSWERS = (404, 409)


class PooledTransport(HTTPClient):  # type: ignore[misc] # python-consul2 has no types
    """HTTP to one Consul address. Redirects are not followed: a token goes nowhere else.

    Paths are sent as they are given: names in them come from ``path_segment``.
    """

    def __init__(self, *, address: str, ca_file: Path | None = None) -> None:
        """``address``: base URL such as ``http://consul-server.consul.svc:8500``.

        ``ca_file``: see ``tls_context``, whose errors it raises. ``ValueError``: no base URL.
        """
        self._base = URL(address)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                ssl=tls_context(ca_file=ca_file),
                socket_factory=watchful_socket,
            ),
            trust_env=False,
        )

    async def __aenter__(self) -> PooledTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(
        self,
        callback: Callback,
        path: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        within: float = DEFAULT_TIMEOUT_S,
    ) -> Any:
        """GET; ``within`` in seconds covers the whole answer."""
        blocking = any(name == "index" for name, _ in params or ())
        with metered(path=path, blocking=blocking):
            return await self._request("GET", callback, path, params, b"", headers, within)

    async def _send(
        self,
        method: str,
        callback: Callback,
        path: str,
        params: Params | None = None,
        data: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        with metered(path=path, blocking=False):
            return await self._request(
                method, callback, path, params, data, headers, DEFAULT_TIMEOUT_S
            )

    put = partialmethod(_send, "PUT")
    post = partialmethod(_send, "POST")
    delete = partialmethod(_send, "DELETE")

    async def _request(
        self,
        method: str,
        callback: Callback,
        path: str,
        params: Params | None,
        data: str | bytes,
        headers: Mapping[str, str] | None,
        within: float,
    ) -> Any:
        url = self._base.with_path(path, encoded=True).with_query(params or ())
        limits = aiohttp.ClientTimeout(total=within, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self._session.request(
                method,
                url,
                data=data or None,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as answer:
                content = await _body(answer, at_most=MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise ConsulUnavailable(f"no answer from {self._base} in time") from error
        except aiohttp.ClientError as error:
            raise ConsulUnavailable(f"{self._base}: {error}") from error
        except ValueError as error:
            # A token from a Secret may be no text for a header, a host no name.
            raise ConsulRefused(f"{self._base} can't be asked: {error}") from error
        body = content.decode("utf-8", errors="replace")
        _raise_for_status(status=answer.status, body=body)
        return callback(Response(answer.status, answer.headers, body, content))


def path_segment(name: str) -> str:
    """``name`` as one segment of a path, or ``ConsulRefused`` when it would become another path.

    A service called ``../../kv/secret`` would otherwise read the key ``secret`` with our token.
    """
    if "/" in name:
        raise ConsulRefused(f"unsafe name {name!r}: it can't contain '/'")
    return id_segment(name)


def id_segment(text: str) -> str:
    """As ``path_segment``, where Consul takes the rest of the path, ``/`` included, as an ID.

    Consul decodes it once; what it would clean away (``..``) or not print never gets there.
    """
    if text in ("", ".", "..") or not text.isprintable():
        raise ConsulRefused(
            f"unsafe name {text!r}: it can't be empty, '.' or '..', or have unprintable characters"
        )
    return quote(text, safe="")


async def _body(answer: aiohttp.ClientResponse, *, at_most: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > at_most:
            raise ConsulUnavailable(f"an answer of more than {at_most >> 20} MiB")
    return bytes(body)


def _raise_for_status(*, status: int, body: str) -> None:
    _, found, why = body.partition(_BAD_FILTER)
    if status >= 500 and found:
        raise ConsulRefused(f"HTTP {status} filter: {why[:200].strip()}", status=status)
    if status == _TOO_MANY_REQUESTS or status >= 500:
        raise ConsulUnavailable(f"HTTP {status} {body[:200].strip()}".strip())
    if status >= 400 and status not in _ANSWERS:
        raise ConsulRefused(f"HTTP {status} {body[:200].strip()}".strip(), status=status)


def tls_context(*, ca_file: Path | None) -> ssl.SSLContext:
    """Verify as ever, but not as strictly as Python ≥ 3.13 does by default.

    ``VERIFY_X509_STRICT`` refuses CAs without a key usage extension, which home-made and older
    Consul CAs often lack. ``ca_file``, in PEM, has the only CAs that are trusted; None: those of
    the system. Raises ``OSError`` (``ssl.SSLError`` is one) when there is no certificate in it.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
