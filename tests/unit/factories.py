"""Objects as the API server would return them, and what Consul would answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consul_nginx.model.authorities import Authority, AuthorityFinding
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.consul import Health, Instance, Observation, Snapshot
from consul_nginx.model.health import HealthPolicy
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.model.mapping import ServiceMapping
from consul_nginx.model.template import OwnText
from consul_nginx.plan.acceptance import accept
from consul_nginx.plan.endpoints import EndpointSelection
from consul_nginx.plan.health import decide
from consul_nginx.plan.load_balancer import Plan, plan_load_balancer
from consul_nginx.plan.permissions import Permissions
from consul_nginx.plan.users import NO_USERS, Users
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-11-22T07:00:00Z",
        **more,
    }


def load_balancer_raw(name: str = "edge", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": metadata(name),
        "spec": {"listeners": [{"name": "http", "port": 80}], **spec},
    }


def mapping_raw(name: str = "web", *, meta: dict[str, Any] | None = None, **spec: Any) -> Any:
    return {
        "metadata": metadata(name, **(meta or {})),
        "spec": {
            "loadBalancerRef": {"name": "edge"},
            "listener": "http",
            "backends": [{"service": "my-web-server"}],
            **spec,
        },
    }


def load_balancer(name: str = "edge", **spec: Any) -> LoadBalancer:
    parsed = parse_load_balancer(load_balancer_raw(name, **spec))
    assert isinstance(parsed, LoadBalancer), parsed
    return parsed


def mapping(
    name: str = "web", *, meta: dict[str, Any] | None = None, **spec: Any
) -> ServiceMapping:
    parsed = parse_service_mapping(mapping_raw(name, meta=meta, **spec))
    assert isinstance(parsed, ServiceMapping), parsed
    return parsed


def instance(
    address: str = "10.244.1.2",
    port: int = 8080,
    *,
    health: Health = Health.PASSING,
    weight: int = 1,
) -> Instance:
    return Instance(
        id=f"{address}:{port}",
        node="node-1",
        address=address,
        port=port,
        health=health,
        weight=weight,
    )


def planned(
    *,
    load_balancer: LoadBalancer,
    mappings: Iterable[ServiceMapping],
    snapshot: Snapshot,
    remembered: Mapping[str, ServiceMapping] | None = None,
    permissions: Permissions | None = None,
    now: float = 0.0,
    certificates: Mapping[str, Certificate] | None = None,
    authorities: Mapping[Authority, AuthorityFinding] | None = None,
    users: Users = NO_USERS,
    own: tuple[OwnText, ...] = (),
) -> Plan:
    acceptance = accept(
        load_balancer=load_balancer,
        mappings=mappings,
        remembered=remembered or {},
        permissions=permissions or Permissions(),
        templates=tuple(one.use for one in own),
    )
    return plan_load_balancer(
        load_balancer=load_balancer,
        acceptance=acceptance,
        snapshot=snapshot,
        now=now,
        certificates=certificates or {},
        authorities=authorities or {},
        users=users,
        own=own,
    )


def selected(instances: Iterable[Instance]) -> EndpointSelection:
    """What is served of the instances of one service, by default."""
    seen = Observation(instances=tuple(instances))
    decision = decide(policy=HealthPolicy(), observations=[seen], weights=[1], now=0.0)
    [selection] = decision.selections
    assert selection is not None
    return selection
