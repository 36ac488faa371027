"""Secrets with users: what nginx reads as it is meant is taken, all else told by its line."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from consul_nginx.model.secret_files import SecretKind, sha256_of
from consul_nginx.resources.users_secret import (
    MAX_FILE_BYTES,
    MAX_LINE,
    MAX_USERS,
    UsersSecretError,
    parse_users_secret,
)

GOLDEN = Path(__file__).parent / "golden" / "users" / "manifest.yaml"
KINDS = {
    line.partition(":")[0]: line
    for line in list(yaml.safe_load_all(GOLDEN.read_text()))[-1]["stringData"]["auth"].splitlines()
    if not line.startswith("#")
}
BCRYPT = KINDS["bcrypt"].partition(":")[2]


def secret(auth: str | bytes, **more):
    content = auth.encode() if isinstance(auth, str) else auth
    return {
        "metadata": {"namespace": "shop", "name": "admins"},
        "type": "Opaque",
        "data": {"auth": b64encode(content).decode()},
        **more,
    }


def problem(auth: str | bytes, **more) -> str:
    with pytest.raises(UsersSecretError) as caught:
        parse_users_secret(secret(auth, **more))
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_salted_kind_of_hash_that_nginx_knows_is_taken(kind):
    found = parse_users_secret(secret(KINDS[kind]))
    assert (found.secret, found.kind) == ("admins", SecretKind.USERS)
    assert found.sha256 == sha256_of(f"{KINDS[kind]}\n".encode())


@pytest.mark.parametrize(
    "auth",
    [
        f"a:{BCRYPT}\n\n# more\nb:{BCRYPT}:comment\n",
        f"a:{BCRYPT}\r\nb:{BCRYPT}\r\n",
        f"jörg with a space:{BCRYPT}",
        f"a:{BCRYPT.replace('$2y$', '$2a$')}\nb:{BCRYPT.replace('$2y$', '$2b$')}",
    ],
    ids=["comments", "carriage returns", "unicode", "the other bcrypts"],
)
def test_lines_are_taken_as_nginx_reads_them(auth):
    parse_users_secret(secret(auth))


SSHA_SHORT = "{SSHA}" + b64encode(hashlib.sha1(b"passwordsalt").digest() + b"salt").decode()
SHA = "{SHA}" + b64encode(hashlib.sha1(b"password").digest()).decode()
WAY_OUT = "write it with `htpasswd -B`"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("\n", "auth: it has no user"),
        ("# only words", "auth: it has no user"),
        ("name", "line 2: it is not NAME:HASH"),
        (f":{BCRYPT}", "line 2: it is not NAME:HASH"),
        (f"a\tb:{BCRYPT}", "line 2: it is not NAME:HASH"),
        (f"a\0b:{BCRYPT}", "line 2: it is not NAME:HASH"),
        (f"user:{BCRYPT}", "line 2: the user of line 1 again"),
        ("a:", "of a kind that is not taken"),
        ("a:geheim", "of a kind that is not taken"),
        ("a:rqXexS6ZhobKA", "of a kind that is not taken"),
        (
            "a:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
            "of a kind",
        ),
        (f"a:{SHA}", "line 2: without a salt"),
        ("a:{PLAIN}geheim", "line 2: without a salt"),
        (f"a:{SSHA_SHORT}", "line 2: its salt has less than 8 bytes"),
        ("a:{SSHA}short", "its hash is not whole, or its salt too short"),
        ("a:{SSHA}QUJD", "line 2: its salt has less than 8 bytes"),
        (f"a:{BCRYPT[:-1]}", "its hash is not whole, or its salt too short"),
        (f"a:{BCRYPT} ", "its hash is not whole, or its salt too short"),
        ("a:$apr1$Qm9vZ2ll$c09l0bkIH7IT07Y8V", "its hash is not whole, or its salt too short"),
        (f"a:{BCRYPT.replace('$05$', '$09$')}", "cost of 9 holds up an nginx worker"),
        (f"a:{BCRYPT.replace('$05$', '$31$')}", "from 4 to 8 may be"),
        (f"a:{BCRYPT.replace('$05$', '$00$')}", "from 4 to 8 may be"),
        (f"a:$6$rounds=5001$Qm9vZ2ll${'a' * 86}", "5001 rounds hold up an nginx worker"),
        (f"a:$5$rounds=999999999$Qm9vZ2ll${'a' * 43}", "from 1000 to 5000 may be"),
        (f"{'x' * MAX_LINE}:{BCRYPT}", "characters; at most 512 may be"),
    ],
)
def test_a_line_that_can_not_be_used_is_told_by_number_and_never_by_what_it_holds(line, words):
    good = f"user:{BCRYPT}"
    said = problem(line if words.startswith("auth") else f"{good}\n{line}\n{good}2")
    assert words in said
    value = line.partition(":")[2]
    assert not value or value not in said
    assert "geheim" not in said
    assert BCRYPT not in said


def test_a_secret_without_the_key_says_what_belongs_there():
    raw = secret("", type="kubernetes.io/basic-auth")
    raw["data"] = {"username": b64encode(b"a").decode(), "password": b64encode(b"geheim").decode()}
    with pytest.raises(UsersSecretError) as caught:
        parse_users_secret(raw)
    said = str(caught.value)
    assert said == "it has no key auth; it has: password, username; lines of htpasswd belong there"


def test_what_is_not_text_or_too_much_is_refused():
    assert problem(b"\xff\xfe") == "auth: it is not text in UTF-8"
    many = "".join(f"u{number}:{BCRYPT}\n" for number in range(MAX_USERS + 1))
    assert problem(many) == "auth: 1001 users; at most 1000 may be"
    parse_users_secret(secret(many.partition("\n")[2]))
    assert f"at most {MAX_FILE_BYTES} may be" in problem("#" * MAX_FILE_BYTES)
