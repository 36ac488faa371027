"""A bundle of the size that memory and time are promised for."""

from __future__ import annotations

import hashlib
import os
import random

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import Endpoint, Path, Traffic
from consul_nginx.model.nginx import (
    Configuration,
    HttpListener,
    Layer,
    Proxy,
    Route,
    Target,
    Upstream,
    VirtualHost,
)
from consul_nginx.nginx.render import render
from consul_nginx.plan.paths import locations
from unit.factories import load_balancer


def large_bundle(
    *, upstreams: int, endpoints: int, port: int = 80, seed: int = 1, layout: Layout | None = None
) -> Bundle:
    """One host name per upstream; addresses and ports at random, for they compress worst.

    Another ``seed`` gives other endpoints of the same structure.
    """
    chance = random.Random(seed)
    groups = tuple(
        Upstream(
            id=hashlib.sha256(f"upstream {number}".encode()).hexdigest()[:16],
            endpoints=tuple(sorted(_endpoint(chance) for _ in range(endpoints))),
            layer=Layer.HTTP,
        )
        for number in range(upstreams)
    )
    hosts = tuple(
        VirtualHost(
            hostname=f"service-{number}.shop.example.com",
            routes=routes,
            locations=locations(routes),
        )
        for number, routes in enumerate(
            (Route(path=Path(), action=Proxy(target=Target(upstream=group.id), traffic=Traffic())),)
            for group in groups
        )
    )
    configuration = Configuration(
        listeners=(HttpListener(id="0" * 16, port=port, hosts=hosts),),
        streams=(),
        upstreams=groups,
        reload=load_balancer().reload,
    )
    bundle = render(configuration=configuration, layout=layout or Layout())
    if os.geteuid() != 0:
        return bundle
    # Else the workers of a nginx started as root have another uid, and can't reach its sockets.
    return Bundle.of({**bundle.files, "nginx.conf": f"user root;\n{bundle.files['nginx.conf']}"})


def _endpoint(chance: random.Random) -> Endpoint:
    octets = (10, chance.randrange(256), chance.randrange(256), chance.randrange(1, 255))
    return Endpoint(address=".".join(map(str, octets)), port=chance.randrange(1024, 65536))
