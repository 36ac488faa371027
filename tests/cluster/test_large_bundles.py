"""Bundles that are too large to be plain, through the real API server and to the real nginx."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from cluster.support.shop import AGENT_PORT, APP, LOAD_BALANCER, NAMESPACE, fetch
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.kube.bundle_store import BundleStore
from consul_nginx.kube.client import KubeClient
from consul_nginx.model.bundle import Bundle, Form
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.resources.load_balancer import parse_load_balancer
from nginx.large import large_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from cluster.support.shop import Shop

API_VERSION = "consul-nginx.dev/v1alpha1"


def form(shop: Shop) -> str:
    manifest = shop.get("configmap", f"{LOAD_BALANCER}-config")["data"]["manifest.json"]
    return str(json.loads(manifest)["form"])


def mappings(count: int) -> list[dict[str, object]]:
    """64 host names each."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": "ServiceMapping",
            "metadata": {
                "name": f"large-{number}",
                "namespace": NAMESPACE,
                "labels": {"large": "true"},
            },
            "spec": {
                "loadBalancerRef": {"name": LOAD_BALANCER},
                "listener": "http",
                "hostnames": [f"{host}.{number}.large.example.com" for host in range(64)],
                "backends": [{"service": APP}],
            },
        }
        for number in range(count)
    ]


def test_a_bundle_that_grows_beyond_64_kb_is_compressed_and_served(shop: Shop):
    assert form(shop) == "plain"
    try:
        shop.cluster.kubectl.apply(mappings(8))
        wait_for(
            lambda: form(shop) == "compressed" and shop.is_programmed(),
            what="nginx runs the compressed bundle",
        )
        host = "63.7.large.example.com"
        assert ask(address=shop.address, host=host, path="/features")[0] == 200
    finally:
        words = ("delete", "servicemappings", "-n", NAMESPACE, "--selector=large=true")
        shop.cluster.kubectl(*words)
    wait_for(lambda: form(shop) == "plain" and shop.is_programmed(), what="the plain bundle again")


@pytest.fixture
def paused(shop: Shop) -> Iterator[Shop]:
    """The operator writes nothing of this LoadBalancer: the test does, what it could not make."""
    patch = ("patch", "nlb", "-n", NAMESPACE, LOAD_BALANCER, "--type=merge", "--patch")
    shop.cluster.kubectl(*patch, json.dumps({"spec": {"paused": True}}))
    wait_for(
        lambda: shop.condition("nlb", LOAD_BALANCER, "Ready").get("reason") == "Paused",
        what="the operator has seen that it is paused",
    )
    yield shop
    shop.cluster.kubectl(*patch, json.dumps({"spec": {"paused": False}}))
    shop.wait_backends(3)


async def test_four_full_shards_pass_through_the_real_api_server_to_nginx(paused: Shop):
    async with store_of(paused) as (store, load_balancer):
        own = await store.read(load_balancer)
        for seed in (1, 2):
            # In hex, half of it compresses away: 3.55 of the 3.6 MB that four shards hold.
            text = random.Random(seed).randbytes(3_100_000).hex()
            written = await store.write(
                load_balancer=load_balancer,
                bundle=Bundle.of({**own.files, "filling.conf": text}),
                before=await store.read(load_balancer),
            )
            assert written.manifest is not None
            assert (written.manifest.form, len(written.manifest.shards)) == (Form.SHARDED, 4)
            await asyncio.to_thread(
                wait_for, paused.is_programmed, what=f"nginx runs revision {written.revision}"
            )
        store.forget(load_balancer.meta.ref)
        assert (await store.read(load_balancer)).hash == written.hash


async def test_a_thousand_upstreams_fit_into_the_memory_of_an_agent(paused: Shop):
    async with store_of(paused) as (store, load_balancer):
        for seed in range(5):
            written = await store.write(
                load_balancer=load_balancer,
                bundle=large_bundle(upstreams=1000, endpoints=10, seed=seed),
                before=await store.read(load_balancer),
            )
            await asyncio.to_thread(
                wait_for, paused.is_programmed, what=f"nginx runs revision {written.revision}"
            )
    resident = [agent_metric(pod, "process_resident_memory_bytes") for pod in paused.nginx_pods()]
    print(f"agents, 1,000 x 10: {resident}")
    assert max(resident) < 60_000_000


def agent_metric(pod: Mapping[str, Any], name: str) -> float:
    lines = fetch(f"http://{pod['status']['podIP']}:{AGENT_PORT}/metrics").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@asynccontextmanager
async def store_of(shop: Shop) -> AsyncIterator[tuple[BundleStore, LoadBalancer]]:
    """As the operator has it, but with the rights of an administrator."""
    load_balancer = parse_load_balancer(shop.get("nlb", LOAD_BALANCER))
    assert isinstance(load_balancer, LoadBalancer)
    settings = Configuration()
    kubeconfig = str(shop.cluster.kubectl.kubeconfig)
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    async with ApiClient(configuration=settings) as api:
        yield BundleStore(kube=KubeClient(api=api)), load_balancer
