"""A real Consul of the tests' own: one dev agent, which is the server too."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from consul_nginx.consul.agents import AgentRegistrations
from consul_nginx.consul.api import Api
from consul_nginx.consul.synthetic import CatalogRegistrations
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.registration import (
    Change,
    Changes,
    Check,
    Content,
    Held,
    Owner,
    Place,
    Registration,
)
from crashes import crashes, no_crashes  # noqa: F401 - pytest finds them here
from nginx.support import free_port, wait_for

CHECKOUT = Path(__file__).parents[2]
_numbers = itertools.count(1)


def consul_binary() -> str:
    folder = Path(os.environ.get("CLUSTER_DIR") or CHECKOUT / ".cluster")
    path = os.environ.get("CONSUL_BIN") or str(folder / "bin" / "consul")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no consul at {path}: run `make consul-binary`")
    return path


@dataclass(frozen=True, kw_only=True)
class Consul:
    """The dev agent; ``ask`` is HTTP without any code of the product's."""

    port: int
    token: str = ""
    pid: int = 0

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, *, method: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        method = method or ("GET" if body is None else "PUT")
        request = urllib.request.Request(f"{self.url}/v1/{path}", data=data, method=method)
        request.add_header("X-Consul-Token", self.token)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def locate(self, places: Mapping[str, float]) -> None:
        """Put nodes onto a line, so many seconds from its beginning, and wait until it counts."""
        for node, seconds in places.items():
            place = {"Vec": [seconds, *[0.0] * 7], "Error": 1.5, "Adjustment": 0.0, "Height": 0.0}
            self.ask("coordinate/update", {"Node": node, "Coord": place})

        def known() -> dict[str, float]:
            found = self.ask("coordinate/nodes")
            return {item["Node"]: item["Coord"]["Vec"][0] for item in found}

        wait_for(lambda: places.items() <= known().items(), why="Consul keeps coordinates")

    def leads(self) -> bool:
        try:
            return bool(self.ask("status/leader")) and bool(self.ask("catalog/service/consul"))
        except (urllib.error.URLError, ConnectionError):
            return False


@contextlib.contextmanager
def dev_agent(folder: Path, *flags: str, token: str = "") -> Iterator[Consul]:
    """A Consul that runs within; ``token`` is what it is asked with."""
    found = Consul(port=free_port(), token=token)
    ports = ("server-port", "serf-lan-port", "serf-wan-port")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [
                consul_binary(), "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1",
                f"-http-port={found.port}", "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
                *(f"-{name}={free_port()}" for name in ports), *flags,
            ],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    found = replace(found, pid=process.pid)
    try:
        wait_for(found.leads, seconds=30, why=f"Consul leads: {folder / 'log'}")
        yield found
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A Consul that runs for all tests; each test has a cluster of its own in it."""
    with dev_agent(tmp_path_factory.mktemp("consul")) as found:
        yield found


@dataclass(kw_only=True)
class Servers:
    """Three servers that elect a leader; each can be killed, and started again with its data."""

    folder: Path
    https: tuple[int, ...]
    rafts: tuple[int, ...]
    serfs: tuple[int, ...]
    processes: dict[int, subprocess.Popen[bytes]]

    def start(self, number: int) -> None:
        """Start a server; it has the data that it had."""
        with open(self.folder / f"log-{number}", "ab") as log:
            self.processes[number] = subprocess.Popen(
                [
                    consul_binary(), "agent", "-server", "-bootstrap-expect=3",
                    f"-node=server-{number}", f"-data-dir={self.folder / str(number)}",
                    "-bind=127.0.0.1", "-client=127.0.0.1",
                    "-hcl=performance {raft_multiplier = 1}",
                    f"-http-port={self.https[number]}", f"-server-port={self.rafts[number]}",
                    f"-serf-lan-port={self.serfs[number]}", "-serf-wan-port=-1", "-dns-port=-1",
                    "-grpc-port=-1", "-grpc-tls-port=-1",
                    *(f"-retry-join=127.0.0.1:{port}" for port in self.serfs), "-retry-interval=1s",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, number: int) -> None:
        """End a server without a word."""
        process = self.processes.pop(number)
        process.kill()
        process.wait(20)

    def at(self, number: int) -> Consul:
        """A server's HTTP API."""
        return Consul(port=self.https[number])

    def leader(self) -> int | None:
        """Number of the server that the others follow."""
        for number in self.processes:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                address = str(self.at(number).ask("status/leader"))
                port = int(address.rpartition(":")[2] or 0)
                if port in self.rafts and self.rafts.index(port) in self.processes:
                    return self.rafts.index(port)
        return None

    def has_leader(self) -> bool:
        """Whether those that live follow one of them."""
        return self.leader() is not None


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Three of the test's own, with a leader."""
    ports = [free_port() for _ in range(9)]
    found = Servers(
        folder=tmp_path, https=tuple(ports[:3]), rafts=tuple(ports[3:6]), serfs=tuple(ports[6:]),
        processes={},
    )  # fmt: skip
    try:
        for number in range(3):
            found.start(number)
        wait_for(found.has_leader, seconds=60, why=f"a leader: {tmp_path}")
        yield found
    finally:
        for number in list(found.processes):
            found.kill(number)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Consul]:
    """One of the test's own, which it may stop."""
    with dev_agent(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """Another one, which denies whatever a token doesn't allow."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = {"initial_management": "root", "agent": "root"}
    rules = {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}
    (folder / "acl.json").write_text(json.dumps(rules))
    with dev_agent(folder, f"-config-file={folder / 'acl.json'}", token="root") as found:
        yield found


@pytest.fixture
def without_coordinates(tmp_path: Path) -> Iterator[Consul]:
    """One that estimates no distances."""
    with dev_agent(tmp_path, "-hcl=disable_coordinates = true") as found:
        yield found


@pytest.fixture
def cluster() -> str:
    """Another one in every test, so that no test sees what another left."""
    return f"test-{next(_numbers)}.example"


@pytest.fixture
def place() -> Place:
    """The Kubernetes node; the dev agent listens on its address."""
    return Place(node="worker-1", ip="127.0.0.1")


@pytest.fixture
async def api(consul: Consul) -> AsyncIterator[Api]:
    async with PooledTransport(address=consul.url) as http:
        yield Api(http=http)


@pytest.fixture
def catalog(api: Api, cluster: str) -> CatalogRegistrations:
    return CatalogRegistrations(cluster=cluster, api=api)


@pytest.fixture
async def agents(consul: Consul, cluster: str) -> AsyncIterator[AgentRegistrations]:
    found = AgentRegistrations(
        cluster=cluster, connect=lambda url: PooledTransport(address=url), port=consul.port
    )
    yield found
    await found.close()


@pytest.fixture
def wanted(cluster: str) -> Callable[..., Registration]:
    """Makes what a Pod asks for; the name of a Pod is its UID too."""

    def make(
        pod: str = "pod-a",
        *,
        uid: str = "",
        ready: bool = True,
        check: Check | None = None,
        of: str = cluster,
        **content: Any,
    ) -> Registration:
        owner = Owner(cluster=of, namespace="shop", pod=pod, pod_uid=uid or pod)
        made = Content(
            id=f"{cluster}:shop/{pod}:8080",
            name="web",
            address="10.1.2.3",
            port=8080,
            tags=("b", "a"),
            meta={"team": "shop", **owner.marks()},
            weight=3,
            checks=frozenset({check.fingerprint} if check else ()),
        )
        return Registration(
            content=replace(made, **content), owner=owner, check=check, ready=ready, created=""
        )

    return make


@pytest.fixture
def registering() -> Callable[..., Changes]:
    """Makes changes that register; ``held`` is what was read before."""

    def make(*wanted: Registration, held: Mapping[str, Held] | None = None) -> Changes:
        return Changes(
            register=tuple(
                Change(before=(held or {}).get(one.content.id), after=one) for one in wanted
            )
        )

    return make
