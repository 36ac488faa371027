"""Files that are made of Secrets: named by their content, and told in the manifest."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from consul_nginx.model.bundle import Bundle, BundleError, Form, Manifest
from consul_nginx.model.encoding import decode, encode
from consul_nginx.model.secret_files import (
    MAX_BYTES,
    SecretContentError,
    SecretFile,
    SecretKind,
    content_of,
    named_in,
    sha256_of,
)

FILES = {"nginx.conf": "events {}\n", "endpoints-a.conf": "server 10.0.0.1:80;\n"}
KEYS = ("tls.crt", "tls.key")


def secret_file(content=b"one", secret="web-tls", kind=SecretKind.TLS):
    return SecretFile(secret=secret, kind=kind, sha256=sha256_of(content))


def data(**values):
    return {key.replace("_", "."): b64encode(value).decode() for key, value in values.items()}


def test_a_bundle_knows_its_secrets_by_hash_in_every_form():
    bundle = Bundle.of(FILES, secrets=[secret_file()])
    for form, previous in ((Form.PLAIN, None), (Form.COMPRESSED, Form.COMPRESSED)):
        big = {**FILES, "big.conf": "#\n" * 40_000} if previous else FILES
        one = Bundle.of(big, secrets=bundle.secrets)
        encoded = encode(bundle=one, revision=1)
        manifest, found = decode(main=encoded.main)
        assert (manifest.form, manifest.secrets) == (form, one.secrets)
        assert found == one


@pytest.mark.parametrize(
    "other",
    [secret_file(b"two"), secret_file(secret="other"), secret_file(kind=SecretKind.USERS), None],
    ids=["content", "name", "kind", "no"],
)
def test_another_secret_is_another_bundle_and_another_structure(other):
    one = Bundle.of(FILES, secrets=[secret_file()])
    two = Bundle.of(FILES, secrets=[other] if other else [])
    assert one.hash != two.hash
    assert one.structure != two.structure


def test_a_manifest_that_was_given_another_secret_by_hand_is_refused():
    encoded = encode(bundle=Bundle.of(FILES, secrets=[secret_file()]), revision=1)
    changed = encoded.main.data["manifest.json"].replace("web-tls", "other")
    with pytest.raises(BundleError, match="the files' hash is"):
        decode(main=type(encoded.main)(data={**encoded.main.data, "manifest.json": changed}))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("web-tls", "not a list of objects"),
        ({"secret": "web-tls"}, "'None' is not a valid SecretKind"),
        ({"kind": "tls", "sha256": "0" * 64}, "not the name of a Secret"),
        ({"secret": "../x", "kind": "tls", "sha256": "0" * 64}, "not the name of a Secret"),
        ({"secret": "a/b", "kind": "users", "sha256": "0" * 64}, "not the name of a Secret"),
        ({"secret": "a", "kind": "token", "sha256": "0" * 64}, "not a valid SecretKind"),
        ({"secret": "a", "kind": "tls", "sha256": "x"}, "not a SHA-256"),
    ],
)
def test_a_wrong_secret_in_a_manifest_is_refused(item, words):
    raw = json.loads(encode(bundle=Bundle.of(FILES), revision=1).manifest.to_json())
    with pytest.raises(BundleError, match=words):
        Manifest.from_json(json.dumps({**raw, "secrets": [item]}))


def test_the_file_holds_the_keys_in_their_order_each_ended_by_a_line_feed():
    assert content_of(data=data(tls_crt=b"A", tls_key=b"B\n\n"), keys=KEYS) == b"A\nB\n"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tls.crt": "QQ=="}, "it has no key tls.key; it has: tls.crt"),
        ({"tls.crt": "QQ==", "tls.key": ""}, "it has no key tls.key; it has: tls.crt"),
        ({"tls.crt": "QQ==", "tls.key": "?"}, "key tls.key is not base64"),
        ({}, "it has no key tls.crt; it has: none"),
        (data(tls_crt=b"A" * MAX_BYTES, tls_key=b"B"), "at most"),
    ],
)
def test_what_a_secret_lacks_is_told_by_its_key(values, words):
    with pytest.raises(SecretContentError, match=words):
        content_of(data=values, keys=KEYS)


def test_the_files_that_a_configuration_names_are_found():
    one, two = secret_file(b"1"), secret_file(b"2", kind=SecretKind.USERS)
    text = f"ssl_certificate /run/x/{one.name};\nauth_basic_user_file /run/x/{two.name};\n"
    assert named_in(text) == {one.name, two.name}
    assert {one.name[64:], two.name[64:]} == {".pem", ".htpasswd"}
    assert named_in("ssl_certificate other.pem;") == frozenset()
