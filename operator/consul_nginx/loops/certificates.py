"""Certificates of listeners, and authorities by which backends are verified: how they are read."""

from __future__ import annotations

from consul_nginx.kube.client import CONFIG_MAP, KubeClient
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.kube.secrets import SecretForbidden, get_secret
from consul_nginx.loops.sight import Sight
from consul_nginx.model.authorities import Authority, AuthorityFinding, AuthorityKind
from consul_nginx.model.certificates import SecretFinding
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.resources.authorities import AuthoritiesError, parse_authorities
from consul_nginx.resources.tls_secret import TlsSecretError, parse_tls_secret

Certificates = Sight[ObjectRef, SecretFinding]
Authorities = Sight[Authority, AuthorityFinding]

_MISSING = "it does not exist; create it or name another one"
_CORRECT = "correct it or name another one"


async def certificate_in(ref: ObjectRef, *, kube: KubeClient) -> SecretFinding:
    """What a Secret of type kubernetes.io/tls holds. Raises ``KubeUnavailable``."""
    try:
        raw = await get_secret(kube=kube, ref=ref)
        if raw is None:
            return SecretFinding(problem=_MISSING)
        return SecretFinding(certificate=parse_tls_secret(raw))
    except SecretForbidden as error:
        return SecretFinding(problem=str(error), readable=False)
    except TlsSecretError as error:
        return SecretFinding(problem=f"{error}; {_CORRECT}")


async def authorities_in(authority: Authority, *, kube: KubeClient) -> AuthorityFinding:
    """What a Secret or ConfigMap holds of them. Raises ``KubeUnavailable``."""
    ref = ObjectRef(namespace=authority.namespace, name=authority.name)
    try:
        raw = (
            await get_secret(kube=kube, ref=ref)
            if authority.kind is AuthorityKind.SECRET
            else await kube.get(CONFIG_MAP, ref)
        )
        if raw is None:
            return AuthorityFinding(problem=_MISSING)
        return AuthorityFinding(pem=parse_authorities(kind=authority.kind, raw=raw))
    except SecretForbidden as error:
        return AuthorityFinding(problem=str(error))
    except KubeRefused as error:
        return AuthorityFinding(problem=f"it can't be read: {str(error).strip()}")
    except AuthoritiesError as error:
        return AuthorityFinding(problem=f"{error}; {_CORRECT}")
