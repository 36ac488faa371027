"""Users that are let in by password: how their Secrets are read."""

from __future__ import annotations

from consul_nginx.kube.client import KubeClient
from consul_nginx.kube.secrets import SecretForbidden, get_secret
from consul_nginx.loops.sight import Sight
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.users import UsersFinding
from consul_nginx.resources.users_secret import UsersSecretError, parse_users_secret

UserFiles = Sight[ObjectRef, UsersFinding]


async def users_in(ref: ObjectRef, *, kube: KubeClient) -> UsersFinding:
    """What a Secret says of users. Raises ``KubeUnavailable``."""
    try:
        raw = await get_secret(kube=kube, ref=ref)
        if raw is None:
            return UsersFinding(
                problem="it does not exist; create it, with the key auth, or name another one",
                gone=True,
            )
        return UsersFinding(file=parse_users_secret(raw))
    except SecretForbidden as error:
        return UsersFinding(problem=str(error))
    except UsersSecretError as error:
        return UsersFinding(problem=str(error))
