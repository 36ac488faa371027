"""Who is let in by password: what locations say, and the files that they include. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import BasicAuth
from consul_nginx.model.nginx import UsersSlot
from consul_nginx.model.secret_files import NO_USERS, USERS_PREFIX
from consul_nginx.model.users import users_id
from consul_nginx.nginx import tokens
from consul_nginx.nginx.tokens import Token, directive


def users_file(identity: str) -> str:
    """Name of a file of users."""
    return f"{USERS_PREFIX}{identity}.conf"


def users(slot: UsersSlot, *, layout: Layout) -> str:
    """The file itself; of none, nobody is let in."""
    if slot.file is None:
        return NO_USERS
    path = tokens.pod_path(layout.secrets / slot.file.name)
    return f"{directive('auth_basic_user_file', path)}\n"


def asking(auth: BasicAuth | None) -> Iterator[Token]:
    """What a location says of its users.

    After what answers a browser's question before a request: that comes without a password.
    """
    if auth is not None:
        yield directive("auth_basic", tokens.realm(auth.realm))
        yield directive("include", tokens.file_name(users_file(users_id(auth.secret))))
