"""Bundles that are too large to be plain, through the real API server and to the real nginx."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from cluster.support.shop import APP, LOAD_BALANCER, NAMESPACE
from cluster.support.traffic import ask
from cluster.support.waiting import wait_for
from consul_nginx.kube.bundle_store import BundleStore
from consul_nginx.kube.client import KubeClient
from consul_nginx.model.bundle import Bundle, Form
from consul_nginx.model.kubernetes import LoadBalancer
from consul_nginx.resources.load_balancer import parse_load_balancer

if TYPE_CHECKING:
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
        wait_for(lambda: ask(address=shop.address, host=host)[0] == 200, what=f"{host} is served")
    finally:
        words = ("delete", "servicemappings", "-n", NAMESPACE, "--selector=large=true")
        shop.cluster.kubectl(*words)
    wait_for(lambda: form(shop) == "plain" and shop.is_programmed(), what="the plain bundle again")


async def test_four_full_shards_fit_into_the_real_api_server(shop: Shop):
    """Paused, so that the operator writes nothing of this LoadBalancer."""
    kubectl = shop.cluster.kubectl
    kubectl.apply(
        [
            {
                "apiVersion": API_VERSION,
                "kind": "LoadBalancer",
                "metadata": {"name": "paused", "namespace": NAMESPACE},
                "spec": {
                    "paused": True,
                    "listeners": [{"name": "http", "protocol": "HTTP", "port": 81}],
                },
            }
        ]
    )
    try:
        paused = parse_load_balancer(shop.get("nlb", "paused"))
        assert isinstance(paused, LoadBalancer)
        settings = Configuration()
        await config.load_kube_config(str(kubectl.kubeconfig), client_configuration=settings)
        async with ApiClient(configuration=settings) as api:
            for seed in (1, 2):
                await _write_and_read(api=api, load_balancer=paused, seed=seed)
    finally:
        kubectl("delete", "nlb", "-n", NAMESPACE, "paused")
    words = ("get", "configmaps", "-n", NAMESPACE, "-o", "name")
    wait_for(lambda: "/paused-config" not in kubectl(*words), what="the shards are collected")


async def _write_and_read(*, api: ApiClient, load_balancer: LoadBalancer, seed: int) -> None:
    # In hex, half of it compresses away: 3.55 of the 3.6 MB that four shards hold.
    text = random.Random(seed).randbytes(3_100_000).hex()
    bundle = Bundle.of({"nginx.conf": "", "b.conf": text})
    store = BundleStore(kube=KubeClient(api=api))
    before = await store.read(load_balancer)
    written = await store.write(load_balancer=load_balancer, bundle=bundle, before=before)
    assert written.manifest is not None
    assert (written.manifest.form, len(written.manifest.shards)) == (Form.SHARDED, 4)
    read = await BundleStore(kube=KubeClient(api=api)).read(load_balancer)
    assert read.hash == bundle.hash
