"""Consul's HTTP API as people use it beside the operator."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any


def agent_request(agent: str, method: str, path: str, body: Any = None) -> Any:
    """Ask a Consul agent; returns its JSON, or None for an empty answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{agent}{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


def answers(agent: str) -> bool:
    """Whether a Consul agent can be asked."""
    try:
        agent_request(agent, "GET", "/v1/agent/self")
    except OSError:
        return False
    return True


def maintain(agent: str, identity: str, *, enable: bool) -> None:
    """Put one registration of an agent into maintenance mode, or end that."""
    path = f"/v1/agent/service/maintenance/{urllib.parse.quote(identity, safe='')}"
    agent_request(agent, "PUT", f"{path}?enable={str(enable).lower()}&reason=test")


def in_maintenance(agent: str) -> list[str]:
    """IDs of an agent's registrations that are in maintenance mode."""
    checks = agent_request(agent, "GET", "/v1/agent/checks").values()
    return [
        check["ServiceID"]
        for check in checks
        if check["CheckID"].startswith("_service_maintenance:")
    ]


def deregister(agent: str, identity: str) -> None:
    """Remove one registration of an agent."""
    path = f"/v1/agent/service/deregister/{urllib.parse.quote(identity, safe='')}"
    agent_request(agent, "PUT", path)
