"""Secrets with users, as htpasswd writes them."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from typing import Any


def users_secret(name: str, /, **passwords: str) -> dict[str, Any]:
    """As the API server returns it; passwords by the names of users, with new salts each time."""
    auth = "".join(f"{user}:{_salted(password)}\n" for user, password in passwords.items())
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "data": {"auth": b64encode(auth.encode()).decode()},
    }


def credentials(user: str, password: str) -> str:
    """What a client says in the header Authorization."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _salted(password: str) -> str:
    salt = os.urandom(8)
    digest = hashlib.sha1(password.encode() + salt).digest()
    return "{SSHA}" + b64encode(digest + salt).decode()
