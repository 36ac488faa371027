"""Who may map what, where a LoadBalancer's owner and whoever runs the operator have the say.

"The older one wins" alone would let one tenant take a path of another's host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.listener import Listener
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.namespaces import AllowedNamespaces, NamespacesFrom
from consul_nginx.model.policy import Policy, Rule, matches
from consul_nginx.model.verdict import Condition, rejected
from consul_nginx.plan.own_templates import uses


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


def template_objection(*, load_balancer: LoadBalancer, policy: Policy) -> Condition | None:
    """What speaks against the templates that a LoadBalancer names."""
    named, namespace = uses(load_balancer), load_balancer.meta.ref.namespace
    if not named or policy.template_rules(namespace):
        return None
    return rejected(
        reason="TemplateNotAllowed",
        message=(
            f"{named[0].field}: ConfigMap {named[0].source.name}: the operator's policy does not "
            f"let LoadBalancers of namespace {namespace} have templates of their own; leave it "
            "out, or have the namespace added to the chart's policy.templates"
        ),
    )


def readable_prefixes(*, load_balancer: LoadBalancer, policy: Policy) -> tuple[str, ...] | None:
    """Folders of the KV store that its templates may read; None: all of it.

    Of a Consul that the LoadBalancer names itself it is the LoadBalancer's own token that says it.
    """
    if load_balancer.consul.address:
        return None
    rules = policy.template_rules(load_balancer.meta.ref.namespace)
    return tuple(sorted({prefix for rule in rules for prefix in rule.kv_prefixes}))


def namespace_objection(
    *,
    mapping: ServiceMapping,
    load_balancer: LoadBalancer,
    listener: Listener | None,
    permissions: Permissions,
) -> Condition | None:
    """What the LoadBalancer, or its listener in its place, has against a mapping's namespace.

    Whom both refuse hears the same as where there is no such listener.
    """
    namespace = mapping.meta.ref.namespace
    if namespace == load_balancer.meta.ref.namespace:
        return None
    labels = permissions.namespace_labels
    own = listener.allowed_namespaces if listener is not None else None
    why = _against(namespace, allowed=load_balancer.allowed_namespaces, labels=labels)
    why_own = _against(namespace, allowed=own, labels=labels) if own is not None else why
    if why_own is None:
        return None
    if why is not None:
        return rejected(
            reason="NotAllowedByLoadBalancer",
            message=(
                f"metadata.namespace: {namespace}: LoadBalancer {load_balancer.meta.ref} {why} "
                "(its spec.allowedNamespaces); have that changed, or name another LoadBalancer"
            ),
        )
    return rejected(
        reason="NotAllowedByListener",
        message=(
            f"metadata.namespace: {namespace}: listener {mapping.listener} of LoadBalancer "
            f"{load_balancer.meta.ref} {why_own} (its allowedNamespaces); have that changed, or "
            "name another listener"
        ),
    )


def _against(
    namespace: str, *, allowed: AllowedNamespaces, labels: Mapping[str, Mapping[str, str]] | None
) -> str | None:
    """Why a namespace that is not the LoadBalancer's own is not allowed."""
    match allowed.come_from:
        case NamespacesFrom.ALL:
            return None
        case NamespacesFrom.SAME:
            return "takes mappings of its own namespace only"
        case NamespacesFrom.SELECTOR if labels is None:
            return "chooses namespaces by labels, which the operator may not read in this cluster"
        case NamespacesFrom.SELECTOR:
            has = (labels or {}).get(namespace, {})
            if all(has.get(key) == value for key, value in allowed.match_labels.items()):
                return None
            wanted = ", ".join(f"{k}={v}" for k, v in sorted(allowed.match_labels.items()))
            return f"takes mappings of namespaces with the labels {wanted}"


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
            f"{_fields(mapping)}: the operator's policy does not let namespace {namespace} "
            f"map {', '.join(wanted)} to {_targets(mapping)}; "
            f"it may map {may or 'nothing'} (chart: policy.mappings)"
        ),
    )


def _permits(*, rule: Rule, mapping: ServiceMapping, listener: Listener) -> bool:
    hosts = _wanted_hosts(mapping=mapping, listener=listener)
    return _all_match(_services(mapping), rule.services) and _all_match(hosts, rule.hostnames)


def listener_objection(*, mapping: ServiceMapping, listener: Listener) -> Condition | None:
    """What a listener's owner has against a mapping's host names and services."""
    services = listener.allowed_services
    checks = (
        ("spec.hostnames", _wanted_hosts(mapping=mapping, listener=listener),
         "allowedHostnames", listener.allowed_hostnames if listener.protocol.has_hostnames else ()),
        *((f"{part.place}.backends", _named(part.group.queries), "allowedServices", services)
          for part in mapping.parts),
    )  # fmt: skip
    for field_, wanted, rule, patterns in checks:
        refused = [item for item in wanted if patterns and not _all_match((item,), patterns)]
        if refused:
            return rejected(
                reason="NotAllowedByListener",
                message=(
                    f"{field_}: {', '.join(refused)}: listener {listener.name} of LoadBalancer "
                    f"{mapping.load_balancer} takes {', '.join(patterns)} (its {rule}); have that "
                    "changed, or choose another"
                ),
            )
    return None


def _all_match(wanted: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """Whether patterns allow all names; ``*``, for what has none, needs a pattern of its own.

    Of a name such as ``*.example.com``, what a pattern says of the text says it of all its hosts.
    """
    return all("*" in patterns if item == "*" else matches(item, patterns) for item in wanted)


def _services(mapping: ServiceMapping) -> tuple[str, ...]:
    return _named(mapping.queries)


def _named(queries: Iterable[ServiceQuery]) -> tuple[str, ...]:
    return tuple(sorted({query.service for query in queries}))


def _fields(mapping: ServiceMapping) -> str:
    places = (part.place for part in mapping.parts) if mapping.parts else ("spec",)
    return ", ".join(("spec.hostnames", *(f"{place}.backends" for place in places)))


def _targets(mapping: ServiceMapping) -> str:
    return ", ".join(_services(mapping)) or "an answer of nginx's own"


def _wanted_hosts(*, mapping: ServiceMapping, listener: Listener) -> tuple[str, ...]:
    """Host names that a mapping takes; ``*`` for all that nobody names, or a whole port."""
    if not listener.protocol.has_hostnames:
        return ("*",)
    return mapping.hostnames or ("*",)
