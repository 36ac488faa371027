"""Which Secrets nginx gets as certificates, and what people are told of the others."""

from __future__ import annotations

import datetime
import re
from base64 import b64decode, b64encode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from consul_nginx.resources.tls_secret import TlsSecretError, parse_tls_secret
from unit.certificates import issued, pem, tls_secret

EC = ec.generate_private_key(ec.SECP256R1())


def refusal(raw):
    with pytest.raises(TlsSecretError) as caught:
        parse_tls_secret(raw)
    return str(caught.value)


def test_host_names_and_the_end_of_a_certificate_are_known_and_its_content_by_hash_only():
    made = issued("shop.example.com", "*.Blog.example.com", days=30)
    found = parse_tls_secret(tls_secret("web-tls", made))
    assert found.hostnames == ("*.blog.example.com", "shop.example.com")
    in_a_month = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    assert abs(found.not_after - in_a_month.timestamp()) < 60
    assert found.file.secret == "web-tls"
    assert found.remarks == ()
    assert "PRIVATE" not in repr(found)


def test_a_new_certificate_is_another_file_and_a_copy_is_the_same():
    made = issued("shop.example.com")
    one, same = (parse_tls_secret(tls_secret("web-tls", made)) for _ in range(2))
    other = parse_tls_secret(tls_secret("web-tls", issued("shop.example.com")))
    assert one == same
    assert one.file.name != other.file.name


@pytest.mark.parametrize(
    ("hostname", "covered"),
    [
        ("shop.example.com", True),
        ("a.blog.example.com", True),
        ("*.blog.example.com", True),
        ("blog.example.com", False),
        ("a.b.blog.example.com", False),
        ("example.com", False),
        ("localhost", False),
    ],
)
def test_a_wildcard_covers_one_label(hostname, covered):
    found = parse_tls_secret(tls_secret("x", issued("shop.example.com", "*.blog.example.com")))
    assert found.covers(hostname) is covered


def test_any_kind_of_key_that_tls_1_2_takes_is_fine():
    for key in (EC, rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()):
        assert parse_tls_secret(tls_secret("x", issued("a.example.com", key=key))).hostnames


def secret(crt=None, key=None, **more):
    made = issued("a.example.com", key=EC)
    raw = tls_secret("web-tls", made)
    values = {"tls.crt": crt, "tls.key": key}
    raw["data"] |= {k: b64encode(v).decode() for k, v in values.items() if v is not None}
    return {**raw, **more}


def encrypted():
    return EC.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )


def leaf_and_ca():
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = issued("ca", key=ca_key)
    return issued("a.example.com", key=EC, by=ca), ca


def upside_down():
    leaf, ca = leaf_and_ca()
    return ca.chain + leaf.chain


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (secret(type="Opaque"), "its type is Opaque, it has to be kubernetes.io/tls"),
        (secret(data={}), "it has no key tls.crt; it has: none"),
        (secret(data=None), "it has no key tls.crt"),
        (secret(crt=b"nonsense"), "tls.crt holds no certificate in PEM"),
        (secret(crt=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), "tls.crt"),
        (secret(key=b"nonsense"), "tls.key holds no private key in PEM"),
        (secret(key=encrypted()), "tls.key is encrypted"),
        (secret(key=pem(ec.generate_private_key(ec.SECP256R1()))), "is not the key of"),
        (secret(crt=upside_down()), "has to be the first one"),
        (secret(crt=issued("a", key=EC).chain * 17), "17 certificates"),
        (
            tls_secret("x", issued("a", key=rsa.generate_private_key(65537, 1024))),
            "an RSA key of 1024 bits; at least 2048",
        ),
        (tls_secret("x", issued("a", key=dsa.generate_private_key(2048))), "a DSA key"),
    ],
)
def test_what_nginx_could_not_use_is_refused_in_words(raw, words):
    said = refusal(raw)
    assert words in said
    assert "PRIVATE" not in said


def test_a_chain_in_its_order_is_fine_and_a_foreign_issuer_is_remarked():
    leaf, ca = leaf_and_ca()
    good = secret(crt=leaf.chain + ca.chain)
    assert parse_tls_secret(good).remarks == ()
    odd = secret(crt=leaf.chain + issued("another").chain)
    [remark] = parse_tls_secret(odd).remarks
    assert "not each issued by the next" in remark


def test_a_certificate_without_host_names_is_remarked():
    made = issued(key=EC)
    [remark] = parse_tls_secret(tls_secret("x", made)).remarks
    assert "names no host" in remark


def test_an_expired_certificate_can_be_used_nginx_does_not_mind():
    assert parse_tls_secret(tls_secret("x", issued("a.example.com", days=-1))).not_after


@pytest.mark.parametrize(
    ("kind", "first"), [(0x0C, 0xE9), (0x14, 0xE9), (0x13, 0x2A)], ids=["UTF8", "T61", "Printable"]
)
def test_a_name_that_can_not_be_read_is_a_reason_and_no_crash(kind, first):
    """Old home-made CAs write Latin-1 into names."""
    raw = tls_secret("web-tls", issued("a.example.com"))
    chain = x509.load_pem_x509_certificates(b64decode(raw["data"]["tls.crt"]))
    content = bytearray(chain[0].public_bytes(serialization.Encoding.DER))
    for place in [found.start() for found in re.finditer(rb"\x55\x04\x03", bytes(content))]:
        content[place + 3], content[place + 5] = kind, first
    body = b64encode(bytes(content))
    text = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    data = {**raw["data"], "tls.crt": b64encode(text).decode()}
    told = "tls.crt is accepted"
    try:
        parse_tls_secret({**raw, "data": data})
    except TlsSecretError as error:
        told = str(error)
    assert "tls.crt" in told
