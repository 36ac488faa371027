"""A bundle in ConfigMaps: which form, there and back, and what is not believed."""

from __future__ import annotations

import json
import random
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.bundle import MANIFEST_KEY, SHARD_NUMBERS, Bundle, BundleError, Form
from consul_nginx.model.encoding import (
    LIMITS,
    PACKED_KEY,
    Content,
    IncompleteError,
    Limits,
    TooLargeError,
    decode,
    encode,
)

FILES = {"nginx.conf": "events {}\n", "endpoints-a.conf": "server 10.0.0.1:80;\n"}
SMALL = Limits(plain=1000, plain_again=700, single=600, single_again=400, unpacked=50_000)


def of_size(size: int) -> Bundle:
    """Text that compresses as badly as addresses do: to about three quarters."""
    chance = random.Random(size)
    text = "".join(chance.choice("0123456789abcdefghijklmnopqrstuvwxyz.:;\n") for _ in range(size))
    return Bundle.of({**FILES, "endpoints-b.conf": text})


def forms(*sizes: int, limits: Limits = SMALL) -> list[Form]:
    """The forms that a bundle takes while its size goes through ``sizes``."""
    found, manifest = [], None
    for size in sizes:
        encoded = encode(bundle=of_size(size), revision=1, previous=manifest, limits=limits)
        manifest = encoded.manifest
        found.append(manifest.form)
    return found


@pytest.mark.parametrize("size", [10, 850, 2000, 2900])
def test_what_is_encoded_is_decoded(size):
    bundle = of_size(size)
    encoded = encode(bundle=bundle, revision=7, limits=SMALL)
    assert decode(main=encoded.main, shards=encoded.shards, limits=SMALL) == (
        encoded.manifest,
        bundle,
    )
    assert (encoded.manifest.revision, encoded.manifest.structure) == (7, bundle.structure)
    assert encoded == encode(bundle=bundle, revision=7, limits=SMALL)


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,8}\.conf", fullmatch=True),
        st.text(st.characters(max_codepoint=127), max_size=400),
        max_size=8,
    ),
    plain=st.integers(0, 2000),
    single=st.integers(100, 2000),
)
def test_any_files_survive_any_form(files, plain, single):
    limits = replace(SMALL, plain=plain, single=max(single, 700))
    bundle = Bundle.of({**files, "nginx.conf": ""})
    encoded = encode(bundle=bundle, revision=1, limits=limits)
    assert decode(main=encoded.main, shards=encoded.shards, limits=limits)[1] == bundle


P, C, S = Form.PLAIN, Form.COMPRESSED, Form.SHARDED
WIDE = replace(SMALL, plain=500, plain_again=400)


def test_the_form_follows_the_size():
    assert [forms(size, limits=WIDE)[0] for size in (10, 300, 400, 1200)] == [P, P, C, S]


def test_a_bundle_around_a_limit_keeps_its_form():
    assert forms(320, 360, 320, 360, limits=WIDE) == [P, C, C, C]
    assert forms(360, 150, 320, limits=WIDE) == [C, P, P]
    assert forms(500, 800, 400, 800, limits=WIDE) == [C, S, S, S]
    assert forms(800, 250, 500, limits=WIDE) == [S, C, C]
    assert forms(1200, 10, 1200, limits=WIDE) == [S, P, S]


def test_each_part_fits_into_a_configmap():
    bundle = of_size(4_000_000)
    encoded = encode(bundle=bundle, revision=1)
    assert encoded.manifest.form is Form.SHARDED
    assert len(encoded.shards) == 4
    for content in (encoded.main, *encoded.shards.values()):
        assert content.size <= 1024 * 1024 - 10_000
    assert encoded.size == sum(c.size for c in (encoded.main, *encoded.shards.values()))


def test_new_shards_leave_those_of_the_manifest_that_they_replace():
    manifest, used = None, []
    for revision in range(1, 4):
        manifest = encode(
            bundle=of_size(2900), revision=revision, previous=manifest, limits=SMALL
        ).manifest
        used.append({shard.number for shard in manifest.shards})
    assert used[0] == used[2]
    assert not used[0] & used[1]
    assert used[0] | used[1] <= set(SHARD_NUMBERS)


def test_what_fits_nowhere_is_refused_with_the_way_out():
    with pytest.raises(TooLargeError, match="spread the mappings over several LoadBalancers"):
        encode(bundle=of_size(4000), revision=1, limits=SMALL)
    huge = Bundle.of({**FILES, "b.conf": "#" * 60_000})
    with pytest.raises(TooLargeError, match="at most 50000 may be"):
        encode(bundle=huge, revision=1, limits=SMALL)


# what is not believed


def plain() -> Content:
    return encode(bundle=Bundle.of(FILES), revision=7).main


def test_keys_that_the_manifest_does_not_list_are_ignored():
    content = plain()
    assert decode(main=replace(content, data={**content.data, "evil.conf": "x"})) == decode(
        main=content
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nginx.conf": "events { } #"}, "the files' hash is"),
        ({"endpoints-a.conf": None}, r"lists 'endpoints-a\.conf', which is missing"),
        ({MANIFEST_KEY: None}, "manifest.json is missing"),
    ],
)
def test_a_plain_bundle_that_was_changed_is_refused(change, words):
    data = {**plain().data, **change}
    data = {key: text for key, text in data.items() if text is not None}
    with pytest.raises(BundleError, match=words):
        decode(main=Content(data=data))


def test_a_manifest_that_lies_about_the_structure_is_refused():
    """The agent would load such a change without ``nginx -t``."""
    encoded = encode(bundle=Bundle.of(FILES), revision=7)
    lying = replace(encoded.manifest, structure="0" * 64).to_json()
    with pytest.raises(BundleError, match="hash"):
        decode(main=Content(data={**encoded.main.data, MANIFEST_KEY: lying}))


def compressed(packed: bytes) -> Content:
    encoded = encode(bundle=of_size(100), revision=7, limits=replace(SMALL, plain=0))
    assert encoded.manifest.form is Form.COMPRESSED
    return replace(encoded.main, binary_data={PACKED_KEY: b64encode(packed).decode()})


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"", "not one whole gzip stream"),
        (b"hello", "incorrect header"),
        (zlib.compress(b"{}", 6, 31)[:-1], "not one whole gzip stream"),
        (zlib.compress(b"{}", 6, 31) + b"x", "not one whole gzip stream"),
        (zlib.compress(b"hello", 6, 31), "not JSON"),
        (zlib.compress(b"[" * 10_000, 6, 31), "not JSON"),
        (zlib.compress(b"[]", 6, 31), "not an object of texts"),
        (zlib.compress(b'{"a.conf": 1}', 6, 31), "not an object of texts"),
        (zlib.compress(b'{"../a": "", "nginx.conf": ""}', 6, 31), "not a bundle file name"),
        (zlib.compress(b'{"nginx.conf": ""}', 6, 31), "the files' hash is"),
    ],
)
def test_a_compressed_bundle_that_is_none_is_refused(packed, words):
    with pytest.raises(BundleError, match=words):
        decode(main=compressed(packed), limits=SMALL)


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(b" " * (LIMITS.unpacked + 2), 9, 31)
    assert len(bomb) < 40_000
    with pytest.raises(BundleError, match="unpacks to more than 33554432 bytes"):
        decode(main=compressed(bomb))


@pytest.mark.parametrize("binary", [{}, {PACKED_KEY: "?"}, {PACKED_KEY: "ü"}])
def test_what_is_not_base64_is_refused(binary):
    with pytest.raises(BundleError, match=PACKED_KEY):
        decode(main=replace(compressed(b""), binary_data=binary))


def test_shards_of_two_revisions_are_never_mixed():
    one, two = (encode(bundle=of_size(size), revision=size, limits=SMALL) for size in (2800, 2900))
    assert one.shards.keys() == two.shards.keys()
    for number in one.shards:
        with pytest.raises(IncompleteError, match=f"shard {number} has the SHA-256"):
            decode(main=two.main, shards={**two.shards, number: one.shards[number]}, limits=SMALL)
        rest = {other: content for other, content in two.shards.items() if other != number}
        with pytest.raises(IncompleteError, match=f"shard {number} is missing"):
            decode(main=two.main, shards=rest, limits=SMALL)
        emptied = {**two.shards, number: Content()}
        with pytest.raises(IncompleteError, match=f"shard {number}: {PACKED_KEY} is missing"):
            decode(main=two.main, shards=emptied, limits=SMALL)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(at, flip):
    encoded = encode(bundle=of_size(900), revision=1, limits=replace(SMALL, plain=0, single=9000))
    packed = bytearray(b64decode(encoded.main.binary_data[PACKED_KEY]))
    packed[at % len(packed)] ^= flip
    content = replace(encoded.main, binary_data={PACKED_KEY: b64encode(packed).decode()})
    try:
        _, bundle = decode(main=content, limits=SMALL)
    except BundleError:
        return
    assert bundle == of_size(900), "gzip's header has bytes that mean nothing"


def test_the_compressed_form_is_readable_with_ordinary_tools():
    encoded = encode(bundle=Bundle.of(FILES), revision=7, limits=replace(SMALL, plain=0))
    text = zlib.decompress(b64decode(encoded.main.binary_data[PACKED_KEY]), 31)
    assert json.loads(text)["nginx.conf"] == FILES["nginx.conf"]
    assert json.loads(encoded.main.data[MANIFEST_KEY])["revision"] == 7
