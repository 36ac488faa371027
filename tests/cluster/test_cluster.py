"""The ground itself: three nodes, Consul on them, and what a team expects of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster.support.consul_api import agent_request
from cluster.support.shop import fetch

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster


def test_three_nodes_are_ready(cluster: Cluster):
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = [
        node["metadata"]["name"]
        for node in nodes
        for item in node["status"]["conditions"]
        if (item["type"], item["status"]) == ("Ready", "True")
    ]
    assert len(ready) == cluster.settings.nodes == 3


def test_consul_has_three_servers_with_a_leader_and_a_client_on_every_node(cluster: Cluster):
    assert agent_request(cluster.consul_address, "GET", "/v1/status/leader")
    assert len(agent_request(cluster.consul_address, "GET", "/v1/status/peers")) == 3
    for node in json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]:
        [address] = [
            item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"
        ]
        agent = agent_request(f"http://{address}:8500", "GET", "/v1/agent/self")
        assert agent["Config"]["NodeName"] == node["metadata"]["name"]
        assert agent["Config"]["Server"] is False


def test_consuls_ui_answers(cluster: Cluster):
    assert "Consul" in fetch(f"{cluster.consul_address}/ui/")
