"""Nothing that is not ours is overwritten, nor deleted with a LoadBalancer."""

from __future__ import annotations

from consul_nginx.kube.client import LOAD_BALANCER, Kind, KubeClient, Raw
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef


async def get_own(
    *, kube: KubeClient, kind: Kind, ref: ObjectRef, load_balancer: LoadBalancer
) -> Raw | None:
    """Read a LoadBalancer's object, None when there is none; ``refuse_foreign`` has its say."""
    raw = await kube.get(kind, ref)
    if raw is not None:
        refuse_foreign(raw=raw, load_balancer=load_balancer)
    return raw


def owner_uid(raw: Raw) -> str:
    """Uid of the LoadBalancer that an object of ours belongs to; it may be an earlier one."""
    owners = raw["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", ""))


def refuse_foreign(*, raw: Raw, load_balancer: LoadBalancer) -> None:
    """Raise ``KubeRefused`` when an existing object is not one of this LoadBalancer's.

    One that belonged to an earlier LoadBalancer of the same name is: it is about to be collected
    as garbage, and is taken over.
    """
    name = load_balancer.meta.ref.name
    for owner in raw["metadata"].get("ownerReferences") or ():
        of_our_group = str(owner["apiVersion"]).startswith(f"{LOAD_BALANCER.group}/")
        if of_our_group and owner["kind"] == LOAD_BALANCER.kind and owner["name"] == name:
            return
    raise KubeRefused(
        f"{raw['kind']} {raw['metadata']['name']} exists and does not belong to LoadBalancer "
        f"{name}: delete it, or give the LoadBalancer another name"
    )
