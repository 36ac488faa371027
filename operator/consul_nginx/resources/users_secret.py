"""Secrets with users and their hashed passwords, as htpasswd writes them.

What is taken are lines that nginx reads as they are meant (``ngx_http_auth_basic_module.c``,
``ngx_crypt.c``, crypt(3) of its image), and whose hashes have a salt (why: decision 0026) and are
soon worked out: a worker of nginx's does it at each request, while all others of its wait.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from consul_nginx.model.secret_files import (
    SecretContentError,
    SecretFile,
    SecretKind,
    content_of,
    sha256_of,
)

MAX_USERS = 1000
# nginx reads the whole file at each request that brings a password.
MAX_FILE_BYTES = 128 * 1024
# Of the 2,048 that nginx has room for.
MAX_LINE = 512
MAX_BCRYPT_COST = 8
MAX_SHA_CRYPT_ROUNDS = 5000

WAY_OUT = "write it with `htpasswd -B`"

_NAME = re.compile(r"[^\x00-\x1f\x7f:#][^\x00-\x1f\x7f:]*")
_SALTED = re.compile(r"\$(apr1|1)\$[./0-9A-Za-z]{8}\$[./0-9A-Za-z]{22}", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./0-9A-Za-z]{53}", re.ASCII)
_SHA_CRYPT = re.compile(
    r"\$(?:5\$(?:rounds=(?P<rounds5>[0-9]{1,9})\$)?[./0-9A-Za-z]{8,16}\$[./0-9A-Za-z]{43}"
    r"|6\$(?:rounds=(?P<rounds6>[0-9]{1,9})\$)?[./0-9A-Za-z]{8,16}\$[./0-9A-Za-z]{86})",
    re.ASCII,
)
_SSHA = re.compile(r"\{SSHA\}(?P<digest>[A-Za-z0-9+/]+={0,2})", re.ASCII)
_SHA1_BYTES = 20
_LEAST_SALT_BYTES = 8


class UsersSecretError(ValueError):
    """The Secret can't be used; the message says why, and quotes nothing of what it holds."""


def parse_users_secret(raw: Mapping[str, Any]) -> SecretFile:
    """Look at a Secret as the API server returns it. Raises ``UsersSecretError``."""
    try:
        content = content_of(data=raw.get("data") or {}, keys=SecretKind.USERS.keys)
    except SecretContentError as error:
        raise UsersSecretError(f"{error}; lines of htpasswd belong there") from error
    if len(content) > MAX_FILE_BYTES:
        raise UsersSecretError(
            f"auth: {len(content)} bytes; nginx reads them at each request, and at most "
            f"{MAX_FILE_BYTES} may be"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsersSecretError("auth: it is not text in UTF-8") from error
    _check(text)
    return SecretFile(
        secret=raw["metadata"]["name"], kind=SecretKind.USERS, sha256=sha256_of(content)
    )


def _check(text: str) -> None:
    """Raises ``UsersSecretError`` that names the first line which can't be used, by its number."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        written = line.removesuffix("\r")
        if not written or written.startswith("#"):
            continue
        name, _, rest = written.partition(":")
        problem = _problem(written, name=name, password=rest.partition(":")[0])
        if problem is None and name in lines:
            problem = f"the user of line {lines[name]} again, and nginx looks at that; leave it out"
        if problem is not None:
            raise UsersSecretError(f"auth, line {number}: {problem}")
        lines[name] = number
    if not lines:
        raise UsersSecretError(f"auth: it has no user; {WAY_OUT}")
    if len(lines) > MAX_USERS:
        raise UsersSecretError(f"auth: {len(lines)} users; at most {MAX_USERS} may be")


def _problem(line: str, *, name: str, password: str) -> str | None:
    if len(line) > MAX_LINE:
        return f"{len(line)} characters; at most {MAX_LINE} may be"
    if ":" not in line or not _NAME.fullmatch(name):
        return f"it is not NAME:HASH; {WAY_OUT}"
    for begins, judge in _KINDS.items():
        if password.startswith(begins):
            return judge(password)
    return (
        "its hash is of a kind that is not taken: bcrypt ($2y$), $apr1$, $1$, $5$, $6$ and {SSHA} "
        f"are; {WAY_OUT}"
    )


def _of_md5(password: str) -> str | None:
    return None if _SALTED.fullmatch(password) else _damaged()


def _of_bcrypt(password: str) -> str | None:
    found = _BCRYPT.fullmatch(password)
    if found is None:
        return _damaged()
    cost = int(found["cost"])
    if not 4 <= cost <= MAX_BCRYPT_COST:
        return (
            f"bcrypt with a cost of {cost} holds up an nginx worker at each request; from 4 to "
            f"{MAX_BCRYPT_COST} may be: {WAY_OUT} -C {MAX_BCRYPT_COST}"
        )
    return None


def _of_sha_crypt(password: str) -> str | None:
    found = _SHA_CRYPT.fullmatch(password)
    if found is None:
        return _damaged()
    rounds = int(found["rounds5"] or found["rounds6"] or MAX_SHA_CRYPT_ROUNDS)
    if not 1000 <= rounds <= MAX_SHA_CRYPT_ROUNDS:
        return (
            f"{rounds} rounds hold up an nginx worker at each request; from 1000 to "
            f"{MAX_SHA_CRYPT_ROUNDS} may be, and without rounds= it is {MAX_SHA_CRYPT_ROUNDS}"
        )
    return None


def _of_salted_sha1(password: str) -> str | None:
    found = _SSHA.fullmatch(password)
    if found is None or len(found["digest"]) % 4:
        return _damaged()
    salt = len(b64decode(found["digest"])) - _SHA1_BYTES
    if salt < _LEAST_SALT_BYTES:
        return f"its salt has less than {_LEAST_SALT_BYTES} bytes; {WAY_OUT}"
    return None


def _unsalted(_: str) -> str | None:
    return f"without a salt, who knows a fingerprint of it finds the password; {WAY_OUT}"


def _damaged() -> str:
    return f"its hash is not whole, or its salt too short; {WAY_OUT}"


_KINDS: Mapping[str, Callable[[str], str | None]] = {
    "$apr1$": _of_md5,
    "$1$": _of_md5,
    "$2": _of_bcrypt,
    "$5$": _of_sha_crypt,
    "$6$": _of_sha_crypt,
    "{SSHA}": _of_salted_sha1,
    "{SHA}": _unsalted,
    "{PLAIN}": _unsalted,
}
