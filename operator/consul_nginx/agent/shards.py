"""The ConfigMaps that carry a large bundle's parts: read by name when a manifest names them."""

from __future__ import annotations

import asyncio

import aiohttp

from consul_nginx.agent.api import ApiError, check, open_session
from consul_nginx.agent.settings import Settings
from consul_nginx.model.bundle import Manifest
from consul_nginx.model.encoding import Content, shard_name

# For all of them together: the agent doesn't look after nginx meanwhile.
_TIMEOUT = 10.0


class Shards:
    """GETs them; whether they belong together is for ``decode`` to say."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings

    async def read(self, manifest: Manifest) -> dict[int, Content]:
        """The manifest's shards by number, without those that don't exist.

        Raises ``ApiError`` when the API server does not answer as hoped.
        """
        if not manifest.shards:
            return {}
        found = {}
        try:
            async with asyncio.timeout(_TIMEOUT), open_session(self._settings) as session:
                for shard in manifest.shards:
                    content = await self._get(session, shard.number)
                    if content is not None:
                        found[shard.number] = content
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ApiError(str(error) or type(error).__name__) from error
        return found

    async def _get(self, session: aiohttp.ClientSession, number: int) -> Content | None:
        name = shard_name(config_map=self._settings.configmap, number=number)
        async with session.get(f"{self._settings.configmaps_url}/{name}") as answer:
            if answer.status == 404:
                return None
            await check(answer)
            return Content.of(await answer.json(content_type=None))
