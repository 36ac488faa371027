"""Registers pods with their node's Consul agent, which then checks them: by a script, for now.

A pod that is on its way out is removed at once, before it stops.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.kubectl import Kubectl

POLL_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One registration and the agent that has it."""

    id: str
    agent: str
    pod_ip: str


def agent_request(agent: str, method: str, path: str, body: Any = None) -> Any:
    """Ask a Consul agent; returns its JSON, or None for an empty answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{agent}{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


class Registration:
    """Keeps one service's registrations equal to the running pods of one label.

    ``check`` is the path that the agent asks over HTTP; None: it connects over TCP.
    """

    def __init__(
        self,
        *,
        kubectl: Kubectl,
        namespace: str,
        app: str,
        port: int,
        service: str = "",
        check: str | None = None,
    ) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._app = app
        self._port = port
        self._service = service or app
        self._check = check

    def sync(self) -> None:
        """Register pods that run, deregister those that stop or are gone."""
        desired = {item.id: item for item in map(self._of, self._pods()) if item is not None}
        actual = self._actual()
        for identity in actual.keys() - desired.keys():
            _deregister(agent=actual[identity], identity=identity)
        for identity in desired.keys() - actual.keys():
            self._register(desired[identity])

    def agent_of(self, pod: str) -> str:
        """Base URL of the agent that has a pod's registration."""
        return self._actual()[self._id(pod)]

    def pods(self) -> set[str]:
        """Names of the pods that run."""
        return {str(pod["metadata"]["name"]) for pod in self._pods() if self._of(pod) is not None}

    def service_id(self, pod: str) -> str:
        """Consul's ID of a pod's registration."""
        return self._id(pod)

    def deregister(self, identity: str) -> None:
        """Remove one registration."""
        _deregister(agent=self._actual()[identity], identity=identity)

    def clear(self) -> None:
        """Remove every registration."""
        for identity, agent in self._actual().items():
            _deregister(agent=agent, identity=identity)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Sync again and again in the background while the context lasts."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(POLL_S):
                self.sync()

        thread = threading.Thread(target=follow, name="registration", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _actual(self) -> dict[str, str]:
        """Registrations of this service by ID, and the agent that has each."""
        nodes = json.loads(self._kubectl("get", "nodes", "-o", "json"))["items"]
        agents = [
            f"http://{address['address']}:8500"
            for node in nodes
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]
        return {
            identity: agent
            for agent in agents
            for identity in agent_request(agent, "GET", "/v1/agent/services")
            if identity.startswith(f"{self._namespace}.{self._app}-")
            and identity.endswith(f".{self._port}")
        }

    def _id(self, pod: str) -> str:
        return f"{self._namespace}.{pod}.{self._port}"

    def _pods(self) -> list[dict[str, Any]]:
        words = ("get", "pods", "-n", self._namespace, "-l", f"app={self._app}", "-o", "json")
        items: list[dict[str, Any]] = json.loads(self._kubectl(*words))["items"]
        return items

    def _of(self, pod: dict[str, Any]) -> Registered | None:
        status = pod["status"]
        if pod["metadata"].get("deletionTimestamp") or status.get("phase") != "Running":
            return None
        if not status.get("podIP") or not status.get("hostIP"):
            return None
        return Registered(
            id=self._id(pod["metadata"]["name"]),
            agent=f"http://{status['hostIP']}:8500",
            pod_ip=status["podIP"],
        )

    def _register(self, item: Registered) -> None:
        address = f"{item.pod_ip}:{self._port}"
        what = (
            {"TCP": address} if self._check is None else {"HTTP": f"http://{address}{self._check}"}
        )
        body = {
            "ID": item.id,
            "Name": self._service,
            "Address": item.pod_ip,
            "Port": self._port,
            "Check": {**what, "Interval": "1s", "Timeout": "1s"},
        }
        agent_request(item.agent, "PUT", "/v1/agent/service/register", body)


def _deregister(*, agent: str, identity: str) -> None:
    path = f"/v1/agent/service/deregister/{urllib.parse.quote(identity, safe='')}"
    try:
        agent_request(agent, "PUT", path)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
