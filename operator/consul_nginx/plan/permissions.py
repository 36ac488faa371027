"""Who may map what, where a LoadBalancer's owner and whoever runs the operator have the say.

"The older one wins" alone would let one tenant take a path of another's host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consul_nginx.model.kubernetes import (
    Listener,
    LoadBalancer,
    NamespacesFrom,
    Protocol,
    ServiceMapping,
)
from consul_nginx.model.policy import Policy, Rule, matches
from consul_nginx.model.verdict import Condition, rejected


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The operator's policy, and the labels of namespaces; None when it may not read them."""

    policy: Policy = field(default_factory=Policy)
    namespace_labels: Mapping[str, Mapping[str, str]] | None = field(default_factory=dict)


def consul_objection(*, load_balancer: LoadBalancer, policy: Policy) -> Condition | None:
    """What speaks against the Consul that a LoadBalancer names: it must be allowed one."""
    address = load_balancer.consul.address
    if not address or address in policy.consul_addresses:
        return None
    allowed = ", ".join(sorted(policy.consul_addresses)) or "none"
    return rejected(
        reason="ConsulAddressNotAllowed",
        message=(
            f"spec.consul.address: {address}: the operator's policy does not allow it (allowed: "
            f"{allowed}); leave it out to use the operator's Consul, or have it added to the "
            "chart's policy.consulAddresses"
        ),
    )


def namespace_objection(
    *, mapping: ServiceMapping, load_balancer: LoadBalancer, permissions: Permissions
) -> Condition | None:
    """What the LoadBalancer has against a mapping's namespace."""
    namespace, allowed = mapping.meta.ref.namespace, load_balancer.allowed_namespaces
    if namespace == load_balancer.meta.ref.namespace:
        return None
    labels = permissions.namespace_labels
    match allowed.come_from:
        case NamespacesFrom.ALL:
            return None
        case NamespacesFrom.SAME:
            why = "takes mappings of its own namespace only"
        case NamespacesFrom.SELECTOR if labels is None:
            why = "chooses namespaces by labels, which the operator may not read in this cluster"
        case NamespacesFrom.SELECTOR:
            has = (labels or {}).get(namespace, {})
            if all(has.get(key) == value for key, value in allowed.match_labels.items()):
                return None
            wanted = ", ".join(f"{k}={v}" for k, v in sorted(allowed.match_labels.items()))
            why = f"takes mappings of namespaces with the labels {wanted}"
    return rejected(
        reason="NotAllowedByLoadBalancer",
        message=(
            f"metadata.namespace: {namespace}: LoadBalancer {load_balancer.meta.ref} {why} "
            "(its spec.allowedNamespaces); have that changed, or name another LoadBalancer"
        ),
    )


def policy_objection(
    *, mapping: ServiceMapping, listener: Listener, policy: Policy
) -> Condition | None:
    """What the operator's policy has against a mapping's host names and service."""
    if policy.rules is None:
        return None
    namespace = mapping.meta.ref.namespace
    rules = [rule for rule in policy.rules if matches(namespace, rule.namespaces)]
    if any(_permits(rule=rule, mapping=mapping, listener=listener) for rule in rules):
        return None
    wanted = _wanted_hosts(mapping=mapping, listener=listener)
    may = "; ".join(
        f"hosts {', '.join(rule.hostnames) or '-'} with services {', '.join(rule.services) or '-'}"
        for rule in rules
    )
    return rejected(
        reason="NotPermitted",
        message=(
            f"spec.hostnames, spec.backends[0].service: the operator's policy does not let "
            f"namespace {namespace} map {', '.join(wanted)} to {mapping.backend.service}; it may "
            f"map {may or 'nothing'} (chart: policy.mappings)"
        ),
    )


def _permits(*, rule: Rule, mapping: ServiceMapping, listener: Listener) -> bool:
    hosts = _wanted_hosts(mapping=mapping, listener=listener)
    return matches(mapping.backend.service, rule.services) and all(
        matches(host, rule.hostnames) if host != "*" else "*" in rule.hostnames for host in hosts
    )


def _wanted_hosts(*, mapping: ServiceMapping, listener: Listener) -> tuple[str, ...]:
    """Host names that a mapping takes; ``*`` for all that nobody names, or a whole port."""
    if listener.protocol is not Protocol.HTTP:
        return ("*",)
    return mapping.hostnames or ("*",)
