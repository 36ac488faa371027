"""What ``consul-nginx check`` finds; against real HTTP servers."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from consul_nginx.consul.transport import PooledTransport
from consul_nginx.handlers import check
from consul_nginx.kube.client import KubeClient

BOTH = {"resources": [{"name": "loadbalancers"}, {"name": "servicemappings"}]}
ONE = {"resources": [{"name": "loadbalancers"}]}


@pytest.fixture
async def server():
    """Answers as Kubernetes, Consul and operator do; a test changes what."""
    answers = {
        "/apis/consul-nginx.dev/v1alpha1": (200, BOTH),
        "/v1/health/service/consul": (200, []),
        "/readyz": (200, "ok"),
    }

    async def answer(request):
        said = answers[request.path]
        if isinstance(said, list):
            said = said.pop(0)
        status, body = said
        return web.json_response(body, status=status, headers={"X-Consul-Index": "7"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield answers, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def look(url, *, patience=0.0):
    findings = []
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiClient(configuration=Configuration(host=url)))
        transport = await stack.enter_async_context(PooledTransport(address=url))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        good = await check.all_good(
            (
                lambda: check.kinds_are_served(KubeClient(api=api)),
                lambda: check.consul_answers(
                    transport=transport, datacenter=None, secret_token=None, address=url
                ),
                lambda: check.operator_is_ready(session=session, url=url),
            ),
            patience=patience,
            tell=findings.append,
        )
    return good, findings


async def test_all_is_well(server):
    good, findings = await look(server[1])
    assert good
    assert [finding.good for finding in findings] == [True, True, True]


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/apis/consul-nginx.dev/v1alpha1", (200, ONE), "kubectl apply --server-side -f crds/"),
        ("/apis/consul-nginx.dev/v1alpha1", (404, {}), "kubectl apply --server-side -f crds/"),
        ("/apis/consul-nginx.dev/v1alpha1", (503, {}), "can't be asked"),
        ("/v1/health/service/consul", (403, "ACL not found"), "ACL not found"),
        ("/v1/health/service/consul", (500, "No cluster leader"), "No cluster leader"),
        ("/readyz", (503, "resources are not listed yet"), "resources are not listed yet"),
    ],
)
async def test_what_is_not_well_is_told_and_the_rest_is_looked_at_all_the_same(
    server, path, answer, words
):
    answers, url = server
    answers[path] = answer
    good, findings = await look(url)
    assert not good
    [bad] = [finding for finding in findings if not finding.good]
    assert words in bad.words
    assert len(findings) == 3


async def test_nobody_there_is_told_for_each():
    good, findings = await look("http://127.0.0.1:1")
    assert not good
    assert [finding.good for finding in findings] == [False, False, False]


async def test_with_patience_it_is_looked_at_again(server, monkeypatch):
    monkeypatch.setattr(check, "_PAUSE_S", 0.001)
    answers, url = server
    answers["/readyz"] = [(503, "not yet"), (503, "not yet"), (200, "ok")]
    good, _ = await look(url, patience=30)
    assert good
