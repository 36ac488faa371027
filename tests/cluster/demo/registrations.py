"""What the pods' annotations say, what Consul has of it, and what a client makes of that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.demo import screen
from cluster.harness.commands import run
from cluster.harness.report import heading, table
from cluster.harness.settings import REPOSITORY
from cluster.support.consul_api import agent_request
from cluster.support.shop import EXAMPLES, HOST, INSTANCES, NAMESPACE
from cluster.support.traffic import traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from cluster.support.shop import Shop

FILE = "examples/test-server.yaml"
DISCOVERY = f"--filename={EXAMPLES / 'discovery.yaml'}"
INTERVAL = "SERVICE_8080_CHECK_INTERVAL"


def show_registrations(shop: Shop) -> None:
    """The annotations of one example, and the instances in Consul that came of all."""
    heading(f"What the annotations in {FILE} register")
    print(f"  $ consul-nginx registrations -f {FILE} --mode agent")
    program = Path(sys.executable).with_name("consul-nginx")
    words = ("registrations", "-f", str(REPOSITORY / FILE), "--mode", "agent")
    screen.show(run([program, *words]).stdout)
    heading("\nWhat Consul has now")
    rows = [("SERVICE", "INSTANCES", "PASSING", "NODES", "CHECKS OF EACH")]
    for service in INSTANCES:
        path = f"/v1/health/service/{service}"
        entries = agent_request(shop.cluster.consul_address, "GET", path)
        passing = [
            entry
            for entry in entries
            if {check["Status"] for check in entry["Checks"]} == {"passing"}
        ]
        nodes = sorted({entry["Node"]["Node"] for entry in entries})
        checks = sorted({check["Name"] for entry in entries for check in entry["Checks"]})
        rows.append(
            (service, str(len(entries)), str(len(passing)), ", ".join(nodes), ", ".join(checks))
        )
    table(rows)


def show_discovery(shop: Shop) -> None:
    """A pod that asks Consul itself, by HTTP and DNS, and calls every instance."""
    kubectl = shop.cluster.kubectl
    heading("\nA client without nginx: it finds the instances in Consul and calls each")
    kubectl("apply", "--server-side", "--force-conflicts", DISCOVERY)
    words = ("logs", "-n", NAMESPACE, "deployment/discovery")
    done = "6 instances, 6 in DNS, 6 answered"
    try:
        wait_for(
            lambda: kubectl(*words, check=False).count(done) >= 2, what="both services are shown"
        )
        screen.kubectl(shop.cluster, *words)
    finally:
        kubectl("delete", DISCOVERY, "--timeout=60s")


def show_a_bad_annotation(shop: Shop) -> int:
    """A duration without a unit: an Event names it; that port leaves Consul, until it is right."""
    pod = shop.app_pods()[0]["metadata"]["name"]
    kubectl = shop.cluster.kubectl
    annotate = ("annotate", "-n", NAMESPACE, f"pod/{pod}", "--overwrite")
    before = shop.app_pods()[0]["metadata"]["annotations"][INTERVAL]
    heading("\nAn annotation has a slip of the pen")
    print(f"  $ kubectl {' '.join(annotate)} {INTERVAL}=10")
    with traffic(address=shop.address, host=HOST, rate=100) as sent:
        kubectl(*annotate, f"{INTERVAL}=10")
        try:
            shop.wait_backends(2)
            events = ("events", "--for", f"pod/{pod}", "--types=Warning", "-n", NAMESPACE)
            wait_for(lambda: INTERVAL in kubectl(*events), what="an Event names it")
            screen.kubectl(shop.cluster, *events)
            heading("\nIt is corrected")
        finally:
            kubectl(*annotate, f"{INTERVAL}={before}")
        with screen.after("back in Consul and nginx"):
            shop.wait_backends(3)
    return screen.failures(sent)
