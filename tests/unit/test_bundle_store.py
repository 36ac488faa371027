"""How a bundle is read from and written to the API server, at unit level with its rules alone."""

from __future__ import annotations

import copy
import random

import pytest

from consul_nginx.kube.bundle_store import BundleStore, Written
from consul_nginx.kube.errors import KubeConflict, KubeRefused, KubeUnavailable
from consul_nginx.model.bundle import MANIFEST_KEY, Bundle, Form
from consul_nginx.model.encoding import PACKED_KEY, Content, decode
from unit.factories import load_balancer

EDGE = load_balancer()


class ConfigMaps:
    """The API server's rules on resource versions, for the two calls that the store makes."""

    def __init__(self):
        self.items, self.written, self.fail_on, self._version = {}, [], None, 0

    async def get(self, kind, ref):
        return copy.deepcopy(self.items.get(ref.name))

    async def write(self, kind, body):
        name, version = body["metadata"]["name"], body["metadata"].get("resourceVersion")
        if name == self.fail_on:
            raise KubeUnavailable("the API server is away")
        present = self.items.get(name)
        if version != (present and present["metadata"]["resourceVersion"]):
            raise KubeConflict(name)
        self._version += 1
        self.items[name] = copy.deepcopy(body)
        self.items[name]["kind"] = "ConfigMap"
        self.items[name]["metadata"]["resourceVersion"] = str(self._version)
        self.written.append(name)
        return self.items[name]

    def decoded(self):
        """What an agent that comes now gets."""
        contents = {name: Content.of(item) for name, item in self.items.items()}
        shards = {
            number: contents[f"edge-config-{number}"]
            for number in range(1, 9)
            if f"edge-config-{number}" in contents
        }
        return decode(main=contents["edge-config"], shards=shards)


@pytest.fixture
def kube():
    return ConfigMaps()


def store_of(kube) -> BundleStore:
    return BundleStore(kube=kube, wall_clock_ms=lambda: 1000)


@pytest.fixture
def store(kube):
    return store_of(kube)


def bundle(size: int = 10, *, seed: int = 1) -> Bundle:
    """About ``size`` bytes when compressed."""
    return Bundle.of({"nginx.conf": "", "b.conf": random.Random(seed).randbytes(size).hex()})


LARGE, LARGE_TOO = bundle(1_500_000), bundle(1_500_000, seed=2)


async def write(store, wanted, *, owner=EDGE) -> Written:
    before = await store.read(owner)
    return await store.write(load_balancer=owner, bundle=wanted, before=before)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (bundle(), ["edge-config"]),
        (bundle(100_000), ["edge-config"]),
        (LARGE, ["edge-config-1", "edge-config-2", "edge-config"]),
    ],
    ids=["plain", "compressed", "sharded"],
)
async def test_another_process_reads_what_was_written(kube, store, wanted, names):
    written = await write(store, wanted)
    assert kube.written == names
    read = await store_of(kube).read(EDGE)
    assert read == written
    assert (read.hash, read.files, read.revision) == (wanted.hash, wanted.files, 1000)


async def test_equal_bytes_are_not_written_again(kube, store):
    await write(store, LARGE)
    await write(store_of(kube), LARGE)
    await write(store, LARGE)
    assert kube.written == ["edge-config-1", "edge-config-2", "edge-config"]


async def test_a_successor_of_the_load_balancer_takes_the_bundle_over(kube, store):
    await write(store, bundle())
    successor = load_balancer()
    object.__setattr__(successor.meta, "uid", "uid-new")
    written = await write(store_of(kube), bundle(), owner=successor)
    assert (written.owner, written.revision) == ("uid-new", 1001)


async def test_revisions_grow_while_the_clock_does_not(store):
    revisions = [(await write(store, bundle(seed=seed))).revision for seed in range(3)]
    assert revisions == [1000, 1001, 1002]


async def test_a_write_that_is_broken_off_leaves_the_revision_before_whole(kube, store):
    await write(store, LARGE)
    for last in ("edge-config-6", "edge-config"):
        kube.fail_on = last
        with pytest.raises(KubeUnavailable):
            await write(store, LARGE_TOO)
        assert kube.decoded()[1] == LARGE
    kube.fail_on = None
    await write(store, LARGE_TOO)
    assert kube.decoded()[1] == LARGE_TOO
    await write(store, LARGE)
    assert kube.decoded()[1] == LARGE
    assert set(kube.items) == {"edge-config", *(f"edge-config-{n}" for n in (1, 2, 5, 6))}


async def test_the_forms_change_without_a_gap(kube, store):
    forms = []
    for wanted in (bundle(), LARGE, bundle(200_000), LARGE_TOO, bundle()):
        forms.append((await write(store, wanted)).manifest.form)
        assert kube.decoded()[1] == wanted
        assert (await store_of(kube).read(EDGE)).hash == wanted.hash
    assert forms == [Form.PLAIN, Form.SHARDED, Form.COMPRESSED, Form.SHARDED, Form.PLAIN]


async def test_what_somebody_else_wrote_in_between_is_a_conflict_and_read_again(kube, store):
    await write(store, bundle())
    await write(store_of(kube), bundle(seed=2))
    with pytest.raises(KubeConflict):
        await write(store, bundle(seed=3))
    assert (await store.read(EDGE)).hash == bundle(seed=2).hash
    await write(store, bundle(seed=3))
    assert kube.decoded()[1] == bundle(seed=3)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("edge-config", {"data": None}),
        ("edge-config-2", {"binaryData": {PACKED_KEY: "AAAA"}}),
        ("edge-config-2", {"binaryData": None}),
    ],
)
async def test_damage_is_written_over_with_a_newer_revision(kube, store, name, part):
    await write(store, LARGE)
    kube.items[name].update(part)
    found = await store_of(kube).read(EDGE)
    assert found.hash == ""
    written = await write(store_of(kube), LARGE)
    assert kube.decoded()[1] == LARGE
    assert written.revision >= 1000


async def test_a_deleted_shard_is_written_anew(kube, store):
    await write(store, LARGE)
    del kube.items["edge-config-1"]
    await write(store_of(kube), LARGE)
    assert kube.decoded()[1] == LARGE


async def test_a_lying_manifest_is_damage(kube, store):
    await write(store, bundle())
    text = kube.items["edge-config"]["data"][MANIFEST_KEY]
    kube.items["edge-config"]["data"][MANIFEST_KEY] = text.replace(bundle().hash, "0" * 64)
    assert (await store_of(kube).read(EDGE)).hash == ""


@pytest.mark.parametrize("name", ["edge-config", "edge-config-2"])
async def test_what_is_not_ours_is_refused_by_name(kube, store, name):
    metadata = {"name": name, "resourceVersion": "1"}
    kube.items[name] = {"kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}
    with pytest.raises(KubeRefused, match=f"ConfigMap {name} exists and does not belong"):
        await write(store, LARGE)
    assert kube.items[name]["data"] == {"a": "b"}


async def test_what_is_too_large_is_refused_with_the_way_out(kube, store):
    await write(store, LARGE)
    with pytest.raises(KubeRefused, match="spread the mappings over several LoadBalancers"):
        await write(store, bundle(4_000_000))
    assert kube.decoded()[1] == LARGE
