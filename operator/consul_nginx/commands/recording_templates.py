"""What templates ask, recorded from a Consul that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consul_nginx.commands.declared import Declarations
from consul_nginx.commands.own_templates import own_texts
from consul_nginx.consul.client import ConsulClient
from consul_nginx.model.facts import (
    DatacentersQuery,
    InstancesQuery,
    NamedService,
    NodesQuery,
    Pair,
    Question,
    ServicesQuery,
    Value,
)

Asked = Mapping[Question, Value]


async def asked_by_templates(
    declared: Declarations, *, client: ConsulClient, namespace: str
) -> Asked:
    """Every question of the templates, with the answer; raises ``ConsulError``."""
    answers: dict[Question, Value] = {}

    async def ask(question: Question) -> Value:
        if question not in answers:
            _, answers[question] = await client.fact(question=question, consistent=True)
        return answers[question]

    await own_texts(declared, policy=None, namespace=namespace, ask=ask)
    return answers


def services_of(asked: Asked) -> list[tuple[str, str]]:
    """Datacenter and name of the services to record with their instances.

    A list of services, or of nodes, is told by them.
    """
    named = [
        (question.datacenter, question.service)
        for question in asked
        if isinstance(question, InstancesQuery)
    ]
    listed = [
        (question.datacenter, item.name)
        for question, value in asked.items()
        if isinstance(question, ServicesQuery)
        for item in value
        if isinstance(item, NamedService)
    ]
    nodes = [(one.datacenter, "consul") for one in asked if isinstance(one, NodesQuery)]
    return [*named, *listed, *nodes]


def with_facts(recorded: dict[str, Any], asked: Asked, *, own: str) -> dict[str, Any]:
    """A snapshot with the keys and the datacenters that templates ask for, too."""
    datacenters: dict[str, dict[str, Any]] = recorded["datacenters"]
    for question, value in asked.items():
        if isinstance(question, DatacentersQuery):
            for name in value:
                datacenters.setdefault(str(name), {})
        for pair in value:
            if isinstance(pair, Pair):
                place = datacenters.setdefault(question.datacenter or own, {})
                place.setdefault("kv", {})[pair.key] = pair.value
    return recorded
