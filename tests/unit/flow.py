"""The first flow with everything in this process: its decisions, without the parts that are real.

Real API servers, Consul and nginx are in the other folders of tests.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from consul_nginx.consul.catalog import Catalog
from consul_nginx.consul.client import Answer
from consul_nginx.consul.errors import ConsulError, ConsulUnavailable
from consul_nginx.kube.errors import KubeConflict
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.state import State, decode_state
from consul_nginx.loops.batching import Batcher
from consul_nginx.loops.certificates import Authorities, Certificates
from consul_nginx.loops.lead import AlwaysLeading
from consul_nginx.loops.load_balancers import LoadBalancers, Programme
from consul_nginx.loops.queue import WorkQueue
from consul_nginx.loops.resources import Resources
from consul_nginx.loops.users import UserFiles
from consul_nginx.model.certificates import SecretFinding
from consul_nginx.model.consul import Instance, ServiceQuery
from consul_nginx.model.encoding import Content, decode
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.policy import Policy
from consul_nginx.plan.survey import NONE_GONE
from unit.factories import load_balancer_raw

EDGE = ObjectRef(namespace="shop", name="edge")


class Kube:
    """The API server's rules on names and resource versions."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self._version = 0

    async def get(self, kind, ref):
        return copy.deepcopy(self.items.get((kind.kind, ref.name)))

    async def write(self, kind, body):
        present = self.items.get((kind.kind, body["metadata"]["name"]))
        if body["metadata"].get("resourceVersion") != (
            present and present["metadata"]["resourceVersion"]
        ):
            raise KubeConflict(body["metadata"]["name"])
        return self._put(kind, body)

    async def apply(self, kind, body):
        return self._put(kind, body)

    def _put(self, kind, body):
        self._version += 1
        name = body["metadata"]["name"]
        made = copy.deepcopy({**body, "kind": kind.kind})
        made["metadata"] |= {"resourceVersion": str(self._version), "uid": f"uid-{name}"}
        self.items[kind.kind, name] = made
        return copy.deepcopy(made)


class Consul:
    """Answers by service: instances, or an error; about what it was not told of it is silent."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[Instance, ...] | ConsulError] = {}
        self.asked: set[str] = set()

    async def service(self, *, query: ServiceQuery, index: int = 0, consistent: bool = False):
        self.asked.add(query.service)
        found = self.says.get(query.service, ConsulUnavailable("no route to host"))
        if isinstance(found, ConsulError):
            raise found
        return Answer(index=1, instances=found)

    async def moved(self, *, place, source, datacenter, index):
        raise ConsulUnavailable("no route to host")


class NoTemplates:
    """LoadBalancers here have none of their own."""

    async def render(self, load_balancer):
        return ()

    def forget_observed(self, ref):
        """Nothing is known."""

    def forget(self, ref):
        """Nothing is known."""


class Flow:
    """One LoadBalancer; ``restart`` is an operator that knows only what the API server has."""

    def __init__(self, **spec: Any) -> None:
        self.kube, self.consul = Kube(), Consul()
        self.now = 1795331400.0
        self._raws = [load_balancer_raw(**spec)]
        self._mappings: dict[str, dict[str, Any]] = {}
        self.load_balancers: LoadBalancers
        self.restart()

    def edit(self, **spec: Any) -> None:
        """The LoadBalancer is another one from the next start on."""
        [raw] = self._raws
        self._raws = [{**raw, "spec": {**raw["spec"], **spec}}]

    def restart(self) -> None:
        queue: WorkQueue[ObjectRef] = WorkQueue(name="test")
        self.resources = Resources(concerns=lambda _: None)
        self.catalog = Catalog(reader=self.consul, changed=lambda _: None)
        self.load_balancers = LoadBalancers(
            kube=self.kube,
            lead=AlwaysLeading(),
            resources=self.resources,
            catalog=self.catalog,
            secrets=Certificates(look=_no_secret, changed=lambda _: None),
            authorities=Authorities(look=_no_secret, changed=lambda _: None),
            users=UserFiles(look=_no_secret, changed=lambda _: None),
            batcher=Batcher(queue=queue, settings=self.resources.batching),
            policy=Policy(),
            own_templates=NoTemplates(),
            nginx_image=NginxImage(name="nginx", pull_secrets=()),
            gone=lambda _, __: NONE_GONE,
            clock=lambda: self.now,
        )
        for raw in self._raws:
            self.resources.load_balancers.put(raw)
        for raw in self._mappings.values():
            self.resources.mappings.put(raw)

    def put(self, raw: Mapping[str, Any]) -> None:
        """A mapping is created, or is another one now."""
        name = raw["metadata"]["name"]
        generation = self._mappings[name]["metadata"]["generation"] + 1 if self.knows(name) else 1
        metadata = {
            **raw["metadata"],
            "generation": generation,
            "resourceVersion": str(generation),
        }
        self._mappings[name] = {**raw, "metadata": metadata}
        self.resources.mappings.put(self._mappings[name])

    def knows(self, name: str) -> bool:
        return name in self._mappings

    async def answer(self) -> None:
        """Have Consul asked anew for everything."""
        queries = set(self.catalog._watches)
        for query in queries:
            await self.catalog._watches[query].look(blocking=False)

    async def reconcile(self) -> Programme:
        await self.load_balancers.reconcile(EDGE)
        programme = self.load_balancers.programme(EDGE)
        assert programme is not None
        return programme

    @property
    def files(self) -> Mapping[str, str]:
        """What nginx is told."""
        _, bundle = decode(main=Content.of(self.kube.items["ConfigMap", "edge-config"]), shards={})
        return bundle.files

    @property
    def state(self) -> State:
        return decode_state(self.kube.items["ConfigMap", "edge-state"]["binaryData"])

    def served(self) -> set[str]:
        """Addresses in all upstreams' files."""
        return {
            line.split()[1].rsplit(":", 1)[0]
            for name, text in self.files.items()
            if name.startswith("endpoints-")
            for line in text.splitlines()
        }


async def _no_secret(_: Any) -> Any:
    return SecretFinding(problem="it does not exist", readable=False)
