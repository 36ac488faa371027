"""What an edit makes superfluous goes when its successor works, and comes back when asked for."""

from __future__ import annotations

import asyncio
import copy

import pytest

from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.loops.children import Children
from consul_nginx.loops.lead import AlwaysLeading
from unit.factories import load_balancer


class Objects:
    """An API server with one object of each kind; a workload's pods are available by a word."""

    def __init__(self):
        self.by_kind = {}

    async def get(self, kind, ref):
        return self.by_kind.get(kind.kind)

    async def apply(self, kind, body):
        generation = self.by_kind.get(kind.kind, {}).get("metadata", {}).get("generation", 0) + 1
        raw = copy.deepcopy(body)
        raw["metadata"] |= {
            "uid": kind.kind,
            "generation": generation,
            "resourceVersion": str(generation),
        }
        self.by_kind[kind.kind] = raw
        return raw

    async def delete(self, kind, raw):
        del self.by_kind[kind.kind]

    def available(self, kind):
        raw = self.by_kind[kind]
        seen = {"observedGeneration": raw["metadata"]["generation"] + 1}
        deployment = {"updatedReplicas": 2, "availableReplicas": 2}
        daemon_set = dict.fromkeys(
            ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"), 3
        )
        status = seen | (deployment if kind == "Deployment" else daemon_set)
        apply = self.apply

        async def apply_and_keep_status(kind, body):
            applied = await apply(kind, body)
            if kind.kind == raw["kind"]:
                applied["status"] = status
            return applied

        self.apply = apply_and_keep_status


@pytest.fixture
def objects():
    return Objects()


@pytest.fixture
def apply(objects):
    children = Children(kube=objects, lead=AlwaysLeading(), image=NginxImage(name="nginx"))
    return lambda **spec: asyncio.run(children.apply(load_balancer(**spec), secrets=()))


def test_the_old_workload_and_its_service_stay_until_the_new_one_works(apply, objects):
    apply()
    new = {"deployment": {"kind": "DaemonSet"}, "access": "HostPort"}
    assert not apply(**new)
    assert {"Deployment", "DaemonSet", "Service"} <= objects.by_kind.keys()
    objects.available("DaemonSet")
    assert apply(**new)
    assert not {"Deployment", "Service", "PodDisruptionBudget"} & objects.by_kind.keys()


def test_an_edit_that_is_taken_back_before_it_took_effect_is_undone(apply, objects):
    assert apply()
    before = objects.by_kind["Deployment"]["spec"]
    assert not apply(access="HostPort")
    assert objects.by_kind["Deployment"]["spec"] != before
    assert apply()
    assert objects.by_kind["Deployment"]["spec"] == before
