"""From the model to files: structure in a few files, the endpoints of each upstream in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from consul_nginx.model.bundle import ENDPOINTS_PREFIX, HASH_FILE, MAIN_FILE, Bundle
from consul_nginx.model.layout import Layout
from consul_nginx.model.mapping import Endpoint
from consul_nginx.model.nginx import (
    Configuration,
    HttpListener,
    Layer,
    Mirroring,
    StreamListener,
    Upstream,
)
from consul_nginx.model.remembered import by_identity
from consul_nginx.nginx import balancing, listeners, mirroring, tokens
from consul_nginx.nginx.authorities import authorities, authority_file
from consul_nginx.nginx.certificates import certificate, certificate_file
from consul_nginx.nginx.environment import template
from consul_nginx.nginx.forwarding import upstream_name
from consul_nginx.nginx.substitute import LISTENER_PREFIX, MIRRORS_FILE
from consul_nginx.nginx.users import users, users_file

UPSTREAMS_FILE = "upstreams.conf"
STREAM_UPSTREAMS_FILE = "stream-upstreams.conf"

_NO_FILES: Mapping[str, str] = MappingProxyType({})
_ZONE_FLOOR_KB = 128
_ZONE_KB_PER_ENDPOINT = 2


def render(
    *,
    configuration: Configuration,
    layout: Layout,
    previous: Mapping[str, str] = _NO_FILES,
) -> Bundle:
    """Render a bundle; equal input gives equal bytes.

    An upstream whose endpoints are unknown, authorities that are, and an own part without a text
    keep their file of ``previous``, the bundle that nginx has now, word for word. Raises
    ``UnsafeTokenError`` for a value that must not reach nginx: the
    plan lets none through, so that is a bug.
    """
    endpoints = [
        (
            upstream,
            _kept(upstream=upstream, previous=previous)
            or _endpoints(upstream=upstream, layout=layout),
        )
        for upstream in configuration.upstreams
    ]
    files = {
        MAIN_FILE: _main(configuration=configuration, layout=layout),
        UPSTREAMS_FILE: _upstreams(endpoints, layer=Layer.HTTP),
        **{
            listener_file(item.id): listeners.http(item, configuration=configuration)
            for item in configuration.listeners
        },
        **{
            listener_file(item.id): listeners.stream(item, configuration=configuration)
            for item in configuration.streams
        },
        **{_endpoints_file(upstream): text for upstream, text in endpoints},
    }
    for part in configuration.own_parts:
        name = own_file(part.id)
        files[name] = part.text if part.text is not None else previous.get(name, "")
    if mirrorings := mirroring.in_use(configuration):
        files[MIRRORS_FILE] = _mirrors(mirrorings, layout=layout)
    if _parts(configuration, Layer.STREAM):
        files[STREAM_UPSTREAMS_FILE] = _upstreams(endpoints, layer=Layer.STREAM)
    files |= {
        certificate_file(slot.id): certificate(slot, layout=layout)
        for slot in configuration.certificates
    }
    files |= {
        authority_file(slot.id): authorities(slot, previous=previous)
        for slot in configuration.authorities
    }
    files |= {users_file(slot.id): users(slot, layout=layout) for slot in configuration.users}
    needed = (
        *(file for slot in configuration.certificates for file in slot.files),
        *(slot.file for slot in configuration.users),
    )
    return Bundle.of(files, secrets=(file for file in needed if file is not None))


def listener_file(identity: str) -> str:
    """The file of a listener."""
    return f"{LISTENER_PREFIX}{identity}.conf"


def own_file(identity: str) -> str:
    """The file of what a user's own template writes."""
    return listener_file(f"own-{identity}")


def _endpoints_file(upstream: Upstream) -> str:
    return f"{ENDPOINTS_PREFIX}{upstream.id}.conf"


def served_upstreams(files: Mapping[str, str], *, layout: Layout) -> frozenset[str]:
    """Ids of the upstreams that have a server in ``files``, other than none of ours."""
    nobody = {_nobody(layer, layout=layout) for layer in Layer}
    return frozenset(
        name.removeprefix(ENDPOINTS_PREFIX).removesuffix(".conf")
        for name, text in files.items()
        if name.startswith(ENDPOINTS_PREFIX) and text not in nobody
    )


def _kept(*, upstream: Upstream, previous: Mapping[str, str]) -> str | None:
    if upstream.endpoints is not None:
        return None
    return previous.get(_endpoints_file(upstream))


def _main(*, configuration: Configuration, layout: Layout) -> str:
    return template("nginx.conf.j2").render(
        pid_file=tokens.pod_path(layout.pid_file),
        status_socket=tokens.pod_path(layout.status_socket),
        unavailable_socket=tokens.pod_path(layout.unavailable_socket),
        temp_folder=tokens.pod_path(layout.temp),
        keepalive_grace=tokens.duration(configuration.reload.keepalive_grace),
        shutdown_timeout=tokens.duration(configuration.reload.shutdown_timeout),
        cors_maps=listeners.cors_maps(configuration),
        asks_variables=any(map(listeners.asks_variables, configuration.listeners)),
        hash_file=tokens.file_name(HASH_FILE),
        http_files=_includes(
            UPSTREAMS_FILE,
            *([MIRRORS_FILE] if mirroring.in_use(configuration) else []),
            *_parts(configuration, Layer.HTTP),
        ),
        stream_files=_includes(STREAM_UPSTREAMS_FILE, *parts)
        if (parts := _parts(configuration, Layer.STREAM))
        else [],
    )


def _parts(configuration: Configuration, layer: Layer) -> list[str]:
    """Files of one of nginx's worlds."""
    own = [own_file(part.id) for part in configuration.own_parts if part.layer is layer]
    served: Sequence[HttpListener | StreamListener] = (
        configuration.listeners if layer is Layer.HTTP else configuration.streams
    )
    return [*own, *(listener_file(item.id) for item in served)]


def _includes(*names: str) -> list[tokens.Token]:
    return [tokens.file_name(name) for name in names]


def _mirrors(mirrorings: Sequence[Mirroring], *, layout: Layout) -> str:
    return template("mirrors.conf.j2").render(
        shares=list(mirroring.shares(mirrorings)),
        upstream=mirroring.MIRRORS,
        socket=tokens.pod_path(layout.mirrors_socket),
        most=mirroring.MOST_COPIES,
        locations=list(mirroring.server_locations(mirrorings)),
    )


def _upstreams(endpoints: Sequence[tuple[Upstream, str]], *, layer: Layer) -> str:
    return "".join(
        _definition(upstream, zone=_zone_kilobytes(text.count("\n")))
        for upstream, text in endpoints
        if upstream.layer is layer
    )


def _definition(upstream: Upstream, *, zone: int) -> str:
    """An upstream with a zone of so many kilobytes."""
    known = _definitions(upstream)
    if zone not in known:
        known[zone] = template("upstream.conf.j2").render(
            upstream={
                "name": upstream_name(upstream.id),
                "method": balancing.method(upstream),
                "endpoints_file": tokens.file_name(_endpoints_file(upstream)),
                "settings": [*balancing.sticky(upstream), *balancing.keepalive(upstream)],
            },
            zone_size=tokens.kilobytes(zone),
        )
    return known[zone]


@by_identity
def _definitions(_: Upstream) -> dict[int, str]:
    """By the size of the zone: of an upstream without known endpoints these are in its file."""
    return {}


def _zone_kilobytes(servers: int) -> int:
    """Room for the endpoints, doubled in steps: a growing upstream rarely changes structure."""
    size = _ZONE_FLOOR_KB
    while size < servers * _ZONE_KB_PER_ENDPOINT:
        size *= 2
    return size


def _endpoints(*, upstream: Upstream, layout: Layout) -> str:
    return _servers(upstream) or _nobody(upstream.layer, layout=layout)


def _nobody(layer: Layer, *, layout: Layout) -> str:
    """Of an upstream without endpoints: a server of ours that says so, or none that is up."""
    if layer is Layer.STREAM:
        return "server 127.0.0.1:1 down;\n"
    return f"server unix:{tokens.pod_path(layout.unavailable_socket)};\n"


@by_identity
def _servers(upstream: Upstream) -> str:
    limits = balancing.limits(upstream)
    served = upstream.fallback if upstream.endpoints is None else upstream.endpoints
    return "".join(_server(endpoint, limits=limits) for endpoint in served)


def _server(endpoint: Endpoint, *, limits: tokens.Token) -> str:
    """One line of an upstream. Plain formatting: of 10,000 lines, a template costs thrice."""
    address = tokens.socket_address(address=endpoint.address, port_number=endpoint.port)
    if endpoint.weight == 1:
        return f"server {address} {limits};\n"
    weight = tokens.number(endpoint.weight, low=1, high=65535)
    return f"server {address} {limits} weight={weight};\n"
