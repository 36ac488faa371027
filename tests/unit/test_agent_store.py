"""Bundles on the volume."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from consul_nginx.agent.unpack import Store
from consul_nginx.model.bundle import Bundle, Form, Manifest
from consul_nginx.model.layout import Layout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(layout=Layout(root=PurePosixPath(tmp_path)))
    store.prepare()
    return store


def bundle(text: str = "") -> Bundle:
    return Bundle.of({"nginx.conf": text, "endpoints-a.conf": "a"})


def manifest(bundle: Bundle, revision: int = 1) -> Manifest:
    return Manifest(
        revision=revision,
        hash=bundle.hash,
        structure=bundle.structure,
        form=Form.PLAIN,
        files=tuple(sorted(bundle.files)),
    )


def unpack(store: Store, one: Bundle, *, revision: int = 1) -> None:
    store.unpack(manifest=manifest(one, revision), bundle=one)


def test_what_is_unpacked_is_all_there(store: Store, tmp_path: Path) -> None:
    one = bundle()
    unpack(store, one)
    folder = tmp_path / "generated" / one.hash
    found = {path.name: path.read_text() for path in folder.glob("*.conf")}
    assert found == one.files
    assert store.manifest(one.hash) == manifest(one)
    assert [path.name for path in folder.parent.iterdir()] == [one.hash]


def test_the_revision_of_equal_bytes_moves(store: Store) -> None:
    one = bundle()
    unpack(store, one)
    unpack(store, one, revision=2)
    found = store.manifest(one.hash)
    assert found
    assert found.revision == 2


def test_what_is_wanted_again_is_the_newest(store: Store, tmp_path: Path) -> None:
    one, folder = bundle(), tmp_path / "generated"
    unpack(store, one)
    os.utime(folder / one.hash, (1, 1))
    unpack(store, one)
    assert (folder / one.hash).stat().st_mtime > 1


def test_a_damaged_bundle_is_made_anew(store: Store, tmp_path: Path) -> None:
    one = bundle()
    unpack(store, one)
    (tmp_path / "generated" / one.hash / "nginx.conf").unlink()
    unpack(store, one)
    assert (tmp_path / "generated" / one.hash / "nginx.conf").exists()


def test_left_overs_of_a_killed_agent_go(store: Store, tmp_path: Path) -> None:
    (tmp_path / "generated" / "abc.tmp-1-0").mkdir()
    store.prepare()
    assert list((tmp_path / "generated").iterdir()) == []


def test_the_last_served_and_the_needed_are_kept(store: Store, tmp_path: Path) -> None:
    bundles = [bundle(str(number)) for number in range(6)]
    for number, one in enumerate(bundles):
        unpack(store, one)
        if number < 5:
            store.mark_served(one.hash)
            os.utime(tmp_path / "generated" / one.hash / "served", (number, number))
    gone = store.prune(keep={bundles[0].hash})
    assert gone == sorted([bundles[1].hash, bundles[5].hash])
    assert store.hashes() == sorted(bundles[n].hash for n in (0, 2, 3, 4))
