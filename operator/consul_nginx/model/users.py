"""What has to be known of users that are let in by password; nothing here is secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from consul_nginx.model.secret_files import SecretFile


@dataclass(frozen=True, kw_only=True)
class UsersFinding:
    """What a Secret was found to hold: a file of users, or ``problem`` says why not, and a way out.

    ``gone``: the Secret is not there, which takes back what it held.
    """

    file: SecretFile | None = None
    problem: str = ""
    gone: bool = False


def users_id(secret: str) -> str:
    """Name of the users' file in the bundle: it stays when the Secret's content changes."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]
