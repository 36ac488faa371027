"""The contract between operator and nginx pod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.bundle import MANIFEST_KEY, Bundle, BundleError, Manifest, decode, encode

FILES = {"nginx.conf": "events {}\n", "endpoints-a.conf": "server 10.0.0.1:80;\n"}


def test_what_is_encoded_is_decoded():
    bundle = Bundle.of(FILES)
    manifest, decoded = decode(encode(bundle=bundle, revision=7))
    assert decoded == bundle
    assert (manifest.revision, manifest.structure) == (7, bundle.structure)


def test_keys_that_the_manifest_does_not_list_are_ignored():
    data = encode(bundle=Bundle.of(FILES), revision=7)
    assert decode({**data, "evil.conf": "x"}) == decode(data)


@pytest.mark.parametrize("name", ["../x.conf", "a/b.conf", "x", ".conf", "A.conf", "a.conf\n"])
def test_an_unsafe_file_name_is_refused(name):
    with pytest.raises(BundleError, match="not a bundle file name"):
        Bundle.of({**FILES, name: ""})


def test_a_changed_file_is_noticed():
    data = encode(bundle=Bundle.of(FILES), revision=7)
    with pytest.raises(BundleError, match="hash"):
        decode({**data, "nginx.conf": "events { } #"})


def test_a_missing_file_is_named():
    data = encode(bundle=Bundle.of(FILES), revision=7)
    del data["endpoints-a.conf"]
    with pytest.raises(BundleError, match=r"endpoints-a\.conf"):
        decode(data)


def test_a_missing_manifest_is_named():
    with pytest.raises(BundleError, match=MANIFEST_KEY):
        decode({})


def test_a_file_that_is_not_ascii_is_refused():
    with pytest.raises(BundleError, match="not ASCII"):
        Bundle.of({"nginx.conf": "\ud800"})


def test_a_manifest_of_a_thousand_brackets_is_refused():
    with pytest.raises(BundleError, match="not JSON"):
        Manifest.from_json("[" * 100_000)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr))
def test_a_hostile_manifest_is_an_error_and_nothing_else(text):
    with pytest.raises(BundleError):
        Manifest.from_json(text)
