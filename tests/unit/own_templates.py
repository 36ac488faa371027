"""What Consul would answer to templates, as a template sees it."""

from __future__ import annotations

from typing import Any

from consul_nginx.model.facts import InstancesQuery, KeyQuery, Question, TreeQuery
from consul_nginx.nginx.own.outcome import Outcome
from consul_nginx.nginx.own.rendering import render_own


def entry(address: str = "10.244.1.5", port: int = 8080, **more: Any) -> dict[str, Any]:
    return {
        "ID": f"{address}:{port}",
        "Name": "web",
        "Address": address,
        "Port": port,
        "Tags": [],
        "ServiceMeta": {},
        "Node": "node-1",
        "NodeAddress": "192.0.2.1",
        "NodeMeta": {},
        "Status": "passing",
        "Weight": 1,
        **more,
    }


def service(name: str, *entries: dict[str, Any], **query: Any) -> dict[Question, list[Any]]:
    return {InstancesQuery(service=name, **query): [*entries]}


def key(path: str, value: str | None = None) -> dict[Question, list[Any]]:
    return {KeyQuery(key=path): [] if value is None else [{"Key": path, "Value": value}]}


def tree(prefix: str, **pairs: str) -> dict[Question, list[Any]]:
    found = [{"Key": f"{prefix}{path}", "Value": value} for path, value in sorted(pairs.items())]
    return {TreeQuery(prefix=prefix): found}


def rendered(
    source: str, *answers: dict[Question, list[Any]], prefixes: tuple[str, ...] | None = None
) -> Outcome:
    known = {query: found for answer in answers for query, found in answer.items()}
    return render_own(source=source, answers=known, prefixes=prefixes)
