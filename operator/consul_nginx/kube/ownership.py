"""Nothing that is not ours is overwritten, nor deleted with a LoadBalancer."""

from __future__ import annotations

from consul_nginx.kube.client import LOAD_BALANCER, Kind, KubeClient, Raw
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.model.kubernetes import ObjectRef


async def get_own(*, kube: KubeClient, kind: Kind, ref: ObjectRef, owner: ObjectRef) -> Raw | None:
    """Read an object of LoadBalancer ``owner``, None when there is none.

    ``refuse_foreign`` has its say.
    """
    raw = await kube.get(kind, ref)
    if raw is not None:
        refuse_foreign(raw=raw, owner=owner)
    return raw


def owner_uid(raw: Raw) -> str:
    """Uid of the LoadBalancer that an object of ours belongs to; it may be an earlier one."""
    owners = raw["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", ""))


def is_newer(raw: Raw, *, than: str | None) -> bool:
    """Whether an object was changed after a resourceVersion, None being that of no object."""
    return than is None or int(raw["metadata"]["resourceVersion"]) > int(than)


def is_own(*, raw: Raw, owner: ObjectRef) -> bool:
    """Whether an object belongs to LoadBalancer ``owner``.

    One that belonged to an earlier LoadBalancer of the same name is: it is about to be collected
    as garbage, and is taken over.
    """
    for item in raw["metadata"].get("ownerReferences") or ():
        of_our_group = str(item["apiVersion"]).startswith(f"{LOAD_BALANCER.group}/")
        if of_our_group and (item["kind"], item["name"]) == (LOAD_BALANCER.kind, owner.name):
            return True
    return False


def refuse_foreign(*, raw: Raw, owner: ObjectRef) -> None:
    """Raise ``KubeRefused`` when an existing object is not one of this LoadBalancer's."""
    if not is_own(raw=raw, owner=owner):
        raise KubeRefused(
            f"{raw['kind']} {raw['metadata']['name']} exists and does not belong to LoadBalancer "
            f"{owner.name}: delete it, or give the LoadBalancer another name"
        )
