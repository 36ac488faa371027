"""Edited mappings that can't be served yet, since Consul does not tell by whom. Pure.

Another service, filter or policy is another upstream, of which nginx has no endpoints. Until Consul
says who they are, what was served before is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from consul_nginx.model.consul import UNKNOWN, Snapshot
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.mapping import BackendGroup, ServiceMapping
from consul_nginx.model.nginx import layer_of
from consul_nginx.plan.acceptance import Acceptance
from consul_nginx.plan.health import is_unknown
from consul_nginx.plan.upstreams import upstream_id


def earlier_forms(
    *, acceptance: Acceptance, remembered: Mapping[str, ServiceMapping]
) -> Mapping[str, ServiceMapping]:
    """By uid, the remembered forms of mappings that are to be served by others now."""
    return {
        uid: form
        for uid, mapping in acceptance.used.items()
        if (form := remembered.get(uid)) is not None
        and form.meta.generation != mapping.meta.generation
        and form.groups != mapping.groups
    }


def awaited(
    *,
    load_balancer: LoadBalancer,
    acceptance: Acceptance,
    earlier: Mapping[str, ServiceMapping],
    snapshot: Snapshot,
    served: Collection[str],
) -> frozenset[str]:
    """Uids of the mappings whose ``earlier_forms`` can be served, and whose present ones can't.

    ``snapshot`` has the answers for both, ``served`` the ids of the upstreams that nginx has
    endpoints of.
    """
    layers = {listener.name: layer_of(listener) for listener in load_balancer.listeners}

    def can_be_served(mapping: ServiceMapping) -> bool:
        layer = layers.get(mapping.listener)
        return layer is not None and all(
            upstream_id(group, layer) in served or _is_told(group, snapshot=snapshot)
            for group in _needed(mapping)
        )

    return frozenset(
        uid
        for uid, form in earlier.items()
        if not can_be_served(acceptance.used[uid]) and can_be_served(form)
    )


def _needed(mapping: ServiceMapping) -> Iterator[BackendGroup]:
    """Without which nobody is served; copies that can't be sent delay no edit."""
    mirror = mapping.mirror.group if mapping.mirror is not None else None
    return (group for group in mapping.groups if group is not mirror)


def _is_told(group: BackendGroup, *, snapshot: Snapshot) -> bool:
    return not is_unknown(
        observations=[snapshot.get(query, UNKNOWN) for query in group.queries],
        weights=[backend.weight for backend in group.backends],
    )
