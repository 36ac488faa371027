"""Which Consul is asked with which token; against a real HTTP server."""

from __future__ import annotations

import pytest
from aiohttp import web

from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.sources import ConsulSources
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ConsulSource, ServiceQuery

SECRET = ("blog", "mine", "token")


@pytest.fixture
async def server():
    """Remembers the tokens that it is sent; answers with ``status``."""
    state = {"tokens": [], "status": 200}

    async def answer(request):
        state["tokens"].append(request.headers.get("X-Consul-Token"))
        return web.Response(text="[]", status=state["status"], headers={"X-Consul-Index": "7"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


@pytest.fixture
async def sources():
    """Sources whose Secrets have what ``tokens`` says; nobody answers at the operator's address."""
    tokens = {SECRET: "blogs-token"}

    async def read_token(*secret):
        return tokens[secret]

    own = PooledTransport(address="http://127.0.0.1:1")
    found = ConsulSources(
        own=ConsulClient(http=own, secret_token="operators-token"),
        connect=lambda address: PooledTransport(address=address),
        read_token=read_token,
    )
    found.tokens = tokens
    yield found
    await found.close()
    await own.close()


def ask(sources, address, secret=()):
    source = ConsulSource(address=address, token_secret=secret)
    return sources.service(query=ServiceQuery(service="web", source=source))


async def test_another_consul_gets_the_token_that_is_named_for_it_or_none(server, sources):
    await ask(sources, server["url"])
    await ask(sources, server["url"], SECRET)
    await ask(sources, server["url"])
    assert server["tokens"] == [None, "blogs-token", None]


async def test_a_token_is_read_again_when_consul_refuses_it(server, sources):
    await ask(sources, server["url"], SECRET)
    sources.tokens[SECRET] = "new"
    await ask(sources, server["url"], SECRET)
    server["status"] = 403
    with pytest.raises(ConsulRefused):
        await ask(sources, server["url"], SECRET)
    server["status"] = 200
    await ask(sources, server["url"], SECRET)
    assert server["tokens"] == ["blogs-token", "blogs-token", "blogs-token", "new"]


@pytest.mark.parametrize("token", ["a\nX-Evil: b", "a\rb", "a\0b"])
async def test_a_secret_that_is_no_text_for_a_header_is_refused_and_nothing_ends(
    server, sources, token
):
    sources.tokens[SECRET] = token
    with pytest.raises(ConsulRefused, match="can't be asked") as refusal:
        await ask(sources, server["url"], SECRET)
    assert token not in str(refusal.value)
    assert server["tokens"] == []


@pytest.mark.parametrize("address", ["http://a:99999", "http://[::", "http://a..b:1"])
async def test_an_address_that_is_none_is_refused_and_nothing_ends(sources, address):
    with pytest.raises(ConsulRefused, match="http"):
        await ask(sources, address)
