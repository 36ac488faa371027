"""Secrets with certificates: looked at again and again, for what changed in them.

They are asked for by name: a watch would need the right to list every Secret of a namespace. What
they hold is judged at once and let go; only the verdict stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from consul_nginx.kube.client import KubeClient
from consul_nginx.kube.errors import KubeError
from consul_nginx.kube.secrets import SecretForbidden, get_secret
from consul_nginx.model.certificates import SecretFinding
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.resources.tls_secret import TlsSecretError, parse_tls_secret

_log = logging.getLogger(__name__)

PERIOD_S = 5.0


class Certificates:
    """``changed`` is called with each LoadBalancer that names a Secret which is another now."""

    def __init__(self, *, kube: KubeClient, changed: Callable[[ObjectRef], None]) -> None:
        self._kube = kube
        self._changed = changed
        self._named: dict[ObjectRef, frozenset[ObjectRef]] = {}
        self._findings: dict[ObjectRef, SecretFinding] = {}

    async def findings(
        self, load_balancer: ObjectRef, names: Iterable[str]
    ) -> Mapping[str, SecretFinding]:
        """What the Secrets of these names hold, as far as is known; read if nothing is.

        They are looked at from now on, until the LoadBalancer names others. Raises
        ``KubeUnavailable`` when one was never read and can't be now.
        """
        refs = {name: ObjectRef(namespace=load_balancer.namespace, name=name) for name in names}
        self._name(load_balancer, frozenset(refs.values()))
        for ref in refs.values():
            if ref not in self._findings:
                self._findings[ref] = await self._look(ref)
        return {name: self._findings[ref] for name, ref in refs.items()}

    def forget(self, load_balancer: ObjectRef) -> None:
        """It is gone, and names nothing."""
        self._name(load_balancer, frozenset())

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look_again()

    async def look_again(self) -> None:
        """Look at every Secret once; one that can't be read now keeps what is known of it."""
        for ref in sorted(self._findings):
            await self._look_again(ref)

    async def _look_again(self, ref: ObjectRef) -> None:
        try:
            found = await self._look(ref)
        except KubeError as error:
            _log.debug("Secret %s can't be looked at now: %s", ref, error)
            return
        if ref in self._findings and found != self._findings[ref]:
            self._findings[ref] = found
            for load_balancer, named in self._named.items():
                if ref in named:
                    self._changed(load_balancer)

    async def _look(self, ref: ObjectRef) -> SecretFinding:
        try:
            raw = await get_secret(kube=self._kube, ref=ref)
            if raw is None:
                return SecretFinding(problem="it does not exist; create it or name another one")
            return SecretFinding(certificate=parse_tls_secret(raw))
        except SecretForbidden as error:
            return SecretFinding(problem=str(error), readable=False)
        except TlsSecretError as error:
            return SecretFinding(problem=f"{error}; correct it or name another one")

    def _name(self, load_balancer: ObjectRef, refs: frozenset[ObjectRef]) -> None:
        if refs:
            self._named[load_balancer] = refs
        else:
            self._named.pop(load_balancer, None)
        named = frozenset().union(*self._named.values())
        self._findings = {ref: found for ref, found in self._findings.items() if ref in named}
