"""Objects that LoadBalancers refer to: looked at by name, again and again.

A watch would need the right to list every Secret of a namespace. What they hold is judged at once
and let go; only the verdict stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from consul_nginx.kube.errors import KubeError
from consul_nginx.model.kubernetes import ObjectRef

_log = logging.getLogger(__name__)

PERIOD_S = 5.0

# Hashable, sortable, and its text is for people.
Key = TypeVar("Key", bound=Any)
Found = TypeVar("Found")


class Sight(Generic[Key, Found]):
    """``look`` reads and judges one object; it raises ``KubeUnavailable`` when it can't.

    ``changed`` is called with each LoadBalancer that refers to an object which is another now.
    """

    def __init__(
        self,
        *,
        look: Callable[[Key], Awaitable[Found]],
        changed: Callable[[ObjectRef], None],
    ) -> None:
        self._look = look
        self._changed = changed
        self._named: dict[ObjectRef, frozenset[Key]] = {}
        self._findings: dict[Key, Found] = {}

    async def findings(self, load_balancer: ObjectRef, keys: Iterable[Key]) -> Mapping[Key, Found]:
        """What these objects hold, as far as is known; read if nothing is.

        They are looked at from now on, until the LoadBalancer refers to others. Raises
        ``KubeUnavailable`` when one was never read and can't be now.
        """
        named = tuple(keys)
        self._name(load_balancer, frozenset(named))
        for key in named:
            if key not in self._findings:
                self._findings[key] = await self._look(key)
        return {key: self._findings[key] for key in named}

    def forget(self, load_balancer: ObjectRef) -> None:
        """It is gone, and refers to nothing."""
        self._name(load_balancer, frozenset())

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look_again()

    async def look_again(self) -> None:
        """Look at every object once; one that can't be read now keeps what is known of it."""
        for key in sorted(self._findings):
            await self._look_again(key)

    async def _look_again(self, key: Key) -> None:
        try:
            found = await self._look(key)
        except KubeError as error:
            _log.debug("%s can't be looked at now: %s", key, error)
            return
        if key in self._findings and found != self._findings[key]:
            self._findings[key] = found
            for load_balancer, named in self._named.items():
                if key in named:
                    self._changed(load_balancer)

    def _name(self, load_balancer: ObjectRef, keys: frozenset[Key]) -> None:
        if keys:
            self._named[load_balancer] = keys
        else:
            self._named.pop(load_balancer, None)
        named = frozenset().union(*self._named.values())
        self._findings = {key: found for key, found in self._findings.items() if key in named}
