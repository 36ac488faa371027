"""A LoadBalancer's bundle in the API server: the ConfigMap ``<lb>-config`` and its shards.

Shards are written before the manifest that names them, and never over those that the manifest in
force names: whoever reads at whatever moment, also while we are away for good, finds one whole
revision. Shards that nothing names any more stay, for the next large revision to be written over;
they go with the LoadBalancer. Taking them away would need the right to delete any ConfigMap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from consul_nginx.kube.children import config_map, config_map_ref, shard_ref
from consul_nginx.kube.client import CONFIG_MAP, KubeClient, Raw
from consul_nginx.kube.errors import KubeConflict, KubeRefused
from consul_nginx.kube.ownership import get_own, is_newer, owner_uid
from consul_nginx.metrics import CONFIGMAP_BYTES, CONFIGMAP_WRITES
from consul_nginx.model.bundle import Bundle, BundleError, Manifest
from consul_nginx.model.encoding import Content, TooLargeError, decode, encode, manifest_of
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Written:
    """The bundle as it is in the API server, as far as we know.

    ``hash`` is empty when there is none, or one that somebody damaged: to be overwritten.
    ``owner`` is the uid of its LoadBalancer, ``resource_version`` that of ``<lb>-config``, and
    ``shard_versions`` those of the shards that were seen, by number. ``size`` is what a write took
    in etcd, in bytes.
    """

    resource_version: str | None = None
    manifest: Manifest | None = None
    hash: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    shard_versions: Mapping[int, str] = field(default_factory=dict)
    size: int = field(default=0, compare=False)

    @property
    def revision(self) -> int:
        """Of the manifest; 0 when there is none."""
        return self.manifest.revision if self.manifest else 0


class BundleStore:
    """Reads a LoadBalancer's bundle once, and writes it when it is another one."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._kube = kube
        self._wall_clock_ms = wall_clock_ms
        self._known: dict[ObjectRef, Written] = {}

    async def read(self, load_balancer: LoadBalancer) -> Written:
        """What is written; raises ``KubeRefused`` when an object of that name is not ours."""
        ref = load_balancer.meta.ref
        if ref not in self._known:
            raw = await self._get(load_balancer=load_balancer, ref=config_map_ref(ref))
            self._known[ref] = (
                Written() if raw is None else await self._as_written(raw, load_balancer)
            )
        return self._known[ref]

    async def write(
        self, *, load_balancer: LoadBalancer, bundle: Bundle, before: Written
    ) -> Written:
        """Write the bundle if it is another one than ``before``, which ``read`` gave.

        Every write names the version that it replaces. Raises ``KubeConflict`` when somebody wrote
        in between, ``KubeRefused`` when the bundle is too large or the server refuses it.
        """
        meta = load_balancer.meta
        if before.hash == bundle.hash and before.owner == meta.uid:
            return before
        revision = max(self._wall_clock_ms(), before.revision + 1)
        try:
            encoded = encode(bundle=bundle, revision=revision, previous=before.manifest)
        except TooLargeError as error:
            raise KubeRefused(str(error)) from error
        try:
            versions = {
                number: await self._put(
                    load_balancer=load_balancer,
                    ref=shard_ref(meta.ref, number),
                    content=content,
                    version=await self._shard_version(load_balancer, number, before=before),
                )
                for number, content in encoded.shards.items()
            }
            version = await self._put(
                load_balancer=load_balancer,
                ref=config_map_ref(meta.ref),
                content=encoded.main,
                version=before.resource_version,
            )
        except KubeConflict:
            self.forget(meta.ref)
            raise
        _log.info(
            "%s: revision %d, bundle %.12s, written for nginx (%s, %d bytes)",
            meta.ref,
            revision,
            bundle.hash,
            encoded.manifest.form,
            encoded.size,
        )
        CONFIGMAP_WRITES.inc()
        CONFIGMAP_BYTES.inc(encoded.size)
        written = self._known[meta.ref] = Written(
            resource_version=version,
            manifest=encoded.manifest,
            hash=bundle.hash,
            files=bundle.files,
            owner=meta.uid,
            shard_versions={**before.shard_versions, **versions},
            size=encoded.size,
        )
        return written

    def knows(self, raw: Raw, ref: ObjectRef) -> bool:
        """Whether one of the ConfigMaps is as it was read or written here, or older."""
        known = self._known.get(ref)
        if known is None:
            return True
        name = raw["metadata"]["name"]
        if name == config_map_ref(ref).name:
            return not is_newer(raw, than=known.resource_version)
        named = [s.number for s in known.manifest.shards] if known.manifest else []
        versions = {shard_ref(ref, n).name: known.shard_versions.get(n) for n in named}
        return name not in versions or not is_newer(raw, than=versions[name])

    def forget(self, ref: ObjectRef) -> None:
        """Read it anew next time: hand edits are found by that."""
        self._known.pop(ref, None)

    async def _as_written(self, raw: Raw, load_balancer: LoadBalancer) -> Written:
        main, version = Content.of(raw), raw["metadata"]["resourceVersion"]
        try:
            manifest = manifest_of(main)
        except BundleError:
            return Written(resource_version=version)
        shards = {
            shard.number: found
            for shard in manifest.shards
            if (found := await self._get_shard(load_balancer, shard.number)) is not None
        }
        versions = {n: found["metadata"]["resourceVersion"] for n, found in shards.items()}
        contents = {number: Content.of(found) for number, found in shards.items()}
        try:
            _, bundle = decode(main=main, shards=contents)
        except BundleError:
            return Written(resource_version=version, manifest=manifest, shard_versions=versions)
        return Written(
            resource_version=version,
            manifest=manifest,
            hash=bundle.hash,
            files=bundle.files,
            owner=owner_uid(raw),
            shard_versions=versions,
        )

    async def _shard_version(
        self, load_balancer: LoadBalancer, number: int, *, before: Written
    ) -> str | None:
        if number in before.shard_versions:
            return before.shard_versions[number]
        raw = await self._get_shard(load_balancer, number)
        return None if raw is None else str(raw["metadata"]["resourceVersion"])

    async def _get_shard(self, load_balancer: LoadBalancer, number: int) -> Raw | None:
        return await self._get(
            load_balancer=load_balancer, ref=shard_ref(load_balancer.meta.ref, number)
        )

    async def _get(self, *, load_balancer: LoadBalancer, ref: ObjectRef) -> Raw | None:
        return await get_own(
            kube=self._kube, kind=CONFIG_MAP, ref=ref, owner=load_balancer.meta.ref
        )

    async def _put(
        self,
        *,
        load_balancer: LoadBalancer,
        ref: ObjectRef,
        content: Content,
        version: str | None,
    ) -> str:
        """Returns the new resourceVersion."""
        body = config_map(
            load_balancer=load_balancer, ref=ref, content=content, resource_version=version
        )
        raw = await self._kube.write(CONFIG_MAP, body)
        return str(raw["metadata"]["resourceVersion"])
