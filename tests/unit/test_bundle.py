"""The bundle and its manifest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.bundle import Bundle, BundleError, Form, Manifest, Shard

FILES = {"nginx.conf": "events {}\n", "endpoints-a.conf": "server 10.0.0.1:80;\n"}
HASH = "0123456789abcdef" * 4
SHARDED = Manifest(
    revision=7,
    hash=HASH,
    structure=HASH,
    form=Form.SHARDED,
    shards=(Shard(number=5, sha256=HASH), Shard(number=6, sha256=HASH)),
)


@pytest.mark.parametrize("name", ["../x.conf", "a/b.conf", "x", ".conf", "A.conf", "a.conf\n"])
def test_an_unsafe_file_name_is_refused(name):
    with pytest.raises(BundleError, match="not a bundle file name"):
        Bundle.of({**FILES, name: ""})


def test_a_file_that_is_not_ascii_is_refused():
    with pytest.raises(BundleError, match="not ASCII"):
        Bundle.of({"nginx.conf": "\ud800"})


def test_endpoints_change_the_hash_and_not_the_structure():
    one, two = Bundle.of(FILES), Bundle.of({**FILES, "endpoints-a.conf": "server 10.0.0.2:80;\n"})
    assert one.structure == two.structure
    assert one.hash != two.hash


@pytest.mark.parametrize(
    "manifest",
    [
        SHARDED,
        Manifest(
            revision=1, hash=HASH, structure=HASH, form=Form.PLAIN, files=("a.conf", "b.conf")
        ),
        Manifest(revision=1, hash=HASH, structure=HASH, form=Form.COMPRESSED),
    ],
)
def test_manifests_survive_json(manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format is not 1"),
        ({"form": "zipped"}, "form: 'zipped' is not a valid Form"),
        ({"revision": 0}, "revision 0 is not a positive integer"),
        ({"revision": True}, "revision True"),
        ({"hash": HASH.upper()}, "hash '"),
        ({"form": "plain"}, "files is not a list of names"),
        ({"shards": []}, r"shards have the numbers \[\]"),
        ({"shards": [1]}, "shards is not a list of objects"),
        ({"shards": [{"number": 9, "sha256": HASH}]}, r"shards have the numbers \[9\]"),
        ({"shards": [{"number": "1", "sha256": HASH}]}, "shards have the numbers"),
        ({"shards": [{"number": 1, "sha256": HASH}] * 2}, r"shards have the numbers \[1, 1\]"),
        ({"shards": [{"number": 1, "sha256": "x"}]}, "sha256 'x' is not a SHA-256"),
    ],
)
def test_a_wrong_manifest_names_the_field(change, words):
    with pytest.raises(BundleError, match=words):
        Manifest.from_json(json.dumps({**json.loads(SHARDED.to_json()), **change}))


def test_a_manifest_of_a_thousand_brackets_is_refused():
    with pytest.raises(BundleError, match="not JSON"):
        Manifest.from_json("[" * 100_000)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr))
def test_a_hostile_manifest_is_an_error_and_nothing_else(text):
    with pytest.raises(BundleError):
        Manifest.from_json(text)
