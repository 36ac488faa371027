"""What an agent still holds when it comes back to a node that no comparison looks at."""

from __future__ import annotations

import asyncio
from functools import partial

from consul_nginx.consul.members import members
from consul_nginx.loops import retired
from consul_nginx.loops.pods import Pods
from consul_nginx.registrar.pod import parse_pod


async def test_only_what_belongs_to_living_pods_stays_on_an_agent_without_compared_pods(
    agents, api, cluster, wanted, registering, monkeypatch
):
    monkeypatch.setattr(retired, "SETTLE_S", 0.01)
    [agent] = await members(api)
    lives, gone, others = wanted("lives"), wanted("gone"), wanted("others", of=f"{cluster}.b")
    await agents.apply(agent, registering(lives, gone, others))
    pods = Pods(parse=parse_pod, changed=lambda _node: None)
    metadata = {"name": "lives", "namespace": "shop", "uid": "lives", "resourceVersion": "1"}
    pods.put({"metadata": metadata})
    pods.listed(uids={"lives"}, version=1, namespace="shop")
    looking = retired.Retired(
        registry=agents,
        cluster=cluster,
        pods=pods,
        places=partial(members, api),
        is_compared=lambda: True,
        confirm=lambda: None,
        spares=pods.lives,
    )
    task = asyncio.create_task(looking.run())
    try:
        looking.ask()
        async with asyncio.timeout(10):
            while gone.content.id in await agents.read(agent):  # noqa: ASYNC110 - a test looks on
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    assert {lives.content.id, others.content.id} <= (await agents.read(agent)).keys()
