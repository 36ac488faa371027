"""A LoadBalancer's own template on a cluster, up to what clients are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cluster.harness.report import HarnessError
from cluster.support.consul_api import agent_request
from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import APP
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.permitted.conftest import Permitted
    from cluster.support.release import Release
    from cluster.support.shop import Shop

HOST = "own.example.com"
LABEL = "consul-nginx.dev/template"
TEMPLATE = """upstream app {
{% for s in service("my-web-server") %}
    server {{ s.Address | nginx_host }}:{{ s.Port }};
{% endfor %}
}
server {
    listen 80;
    location /features { proxy_pass http://app; }
    location / { return 200 "VERSION {{ key_or_default("own/number", "none") }}\\n"; }
}
"""


@dataclass(frozen=True, kw_only=True)
class Own:
    """A namespace whose LoadBalancers may have templates, and Consul's KV store."""

    tenant: Tenant
    agent: str

    def template(self, text: str, **labels: str) -> None:
        metadata = {"name": "mine", "namespace": self.tenant.namespace, "labels": labels}
        self.tenant.cluster.kubectl.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": metadata,
                    "data": {"template.conf.j2": text},
                }
            ]
        )

    def key(self, number: int) -> None:
        agent_request(self.agent, "PUT", "/v1/kv/own/number", number)

    def says(self) -> str:
        """What clients are answered; empty when they are not."""
        try:
            address = self.tenant.get("service", "own")["spec"]["clusterIP"]
            return str(ask(address=f"{address}:80", host=HOST)[1]).strip()
        except OSError:
            return ""

    def wait_says(self, text: str) -> None:
        wait_for(lambda: self.says() == text, what=f"nginx says {text!r}", seconds=30)


def apply(found: Tenant, **listener: object) -> None:
    template = {"configMapRef": {"name": "mine"}}
    found.load_balancer(
        "own",
        listeners=[{"name": "http", "port": 80, "template": template, **listener}],
        deployment={"replicas": 1},
    )


@pytest.fixture(scope="module")
def own(cluster: Cluster, permitted: Permitted) -> Iterator[Own]:
    """nginx answers by the template, which the policy allows."""
    with tenant(cluster=cluster, namespace="own") as found:
        made = Own(tenant=found, agent=permitted.agent)
        made.template(TEMPLATE, **{LABEL: "true"})
        apply(found)
        found.wait_true("nlb/own", "Ready", seconds=90)
        made.wait_says("VERSION none")
        yield made
        agent_request(made.agent, "DELETE", "/v1/kv/own/?recurse")


@pytest.fixture
def whole(own: Own) -> Iterator[Own]:
    """The template is as it was afterwards."""
    yield own
    own.template(TEMPLATE, **{LABEL: "true"})
    own.tenant.wait_true("nlb/own", "Ready")


def test_keys_services_and_the_config_map_change_what_clients_are_answered(
    own: Own, whole: Own, shop: Shop
):
    address = own.tenant.get("service", "own")["spec"]["clusterIP"]
    with traffic(address=f"{address}:80", host=HOST) as sent:
        wait_for(lambda: len(sent.by_pod) == 3, what="requests rotate over all instances")
        for number in (7, 8):
            own.key(number)
            own.wait_says(f"VERSION {number}")
        own.template(TEMPLATE.replace("VERSION", "edited"), **{LABEL: "true"})
        own.wait_says("edited 8")
    assert not sent.failures, sent.explain()
    agent_request(own.agent, "DELETE", "/v1/kv/own/number")
    own.wait_says("edited none")


def test_a_broken_template_is_told_with_its_line_and_the_one_before_is_served_on(
    own: Own, whole: Own, release: Release, cluster: Cluster
):
    own.template(TEMPLATE.replace("s.Port", "s.Prot").replace("VERSION", "x"), **{LABEL: "true"})
    for condition in ("ResolvedRefs", "Programmed"):
        found = own.tenant.wait_condition("nlb/own", condition, "TemplateFailed")
        assert found["status"] == "False"
        for words in (
            "spec.listeners[0].template: ConfigMap own/mine, key template.conf.j2: line 3:",
            "no attribute 'Prot'",
        ):
            assert words in found["message"]
    assert own.says() == "VERSION none"
    events = own.tenant.kubectl("events", "--for", "loadbalancer/own")
    assert "TemplateFailed" in events

    old = release.operator_pod()["metadata"]["name"]
    selector = "--selector=app.kubernetes.io/name=consul-nginx-operator"
    cluster.kubectl("delete", "pods", "-n", OPERATOR_NAMESPACE, selector, "--now")
    release.wait_for_another_operator(old)
    own.tenant.wait_condition("nlb/own", "ResolvedRefs", "TemplateFailed")
    assert own.says() == "VERSION none"

    own.template(TEMPLATE.replace("VERSION", "mended"), **{LABEL: "true"})
    own.wait_says("mended none")
    own.tenant.wait_true("nlb/own", "Ready")
    assert own.tenant.condition("nlb", "own", "ResolvedRefs")["status"] == "True"


def test_what_hangs_or_grows_is_stopped_and_nobody_else_waits(own: Own, whole: Own, shop: Shop):
    for text, words in (
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "CPU"),
        ("{{ 'x' * 10 ** 9 }}", "memory"),
    ):
        own.template(text, **{LABEL: "true"})
        wait_for(
            lambda w=words: w in own.tenant.condition("nlb", "own", "ResolvedRefs")["message"],
            what=f"the condition speaks of {words}",
            seconds=60,
        )
        assert own.says() == "VERSION none"
    shop.wait_ready()


def test_nginx_refuses_a_template_and_the_one_before_is_served_on(own: Own, whole: Own):
    own.template(TEMPLATE.replace("return 200", "retrun 200"), **{LABEL: "true"})
    found = own.tenant.wait_condition("nlb/own", "Programmed", "Rejected")
    assert 'unknown directive "retrun"' in found["message"]
    assert own.says() == "VERSION none"
    own.template(TEMPLATE.replace("VERSION", "right"), **{LABEL: "true"})
    own.wait_says("right none")
    own.tenant.wait_true("nlb/own", "Ready")


def test_what_is_missing_is_told_and_the_template_is_served_on(own: Own, whole: Own):
    own.template(TEMPLATE)
    found = own.tenant.wait_condition("nlb/own", "ResolvedRefs", "TemplateNotFound")
    assert f"lacks the label {LABEL}" in found["message"]
    own.template(
        TEMPLATE.replace('key_or_default("own/number", "none")', 'key("own/number")'),
        **{LABEL: "true"},
    )
    found = own.tenant.wait_condition("nlb/own", "ResolvedRefs", "TemplatePending")
    assert "it waits: Consul has no key own/number" in found["message"]
    assert own.says() == "VERSION none"
    own.key(9)
    own.wait_says("VERSION 9")
    agent_request(own.agent, "DELETE", "/v1/kv/own/number")


def test_mappings_on_its_listener_are_rejected_with_a_way_out(own: Own):
    own.tenant.mapping(
        "late", loadBalancerRef={"name": "own"}, listener="http", backends=[{"service": APP}]
    )
    found = own.tenant.wait_condition("smap/late", "Accepted", "ListenerHasTemplate")
    assert "name another listener" in found["message"]
    own.tenant.kubectl("delete", "smap/late")


def test_where_the_policy_does_not_allow_it_nothing_is_rendered(cluster: Cluster, own: Own):
    with tenant(cluster=cluster, namespace="other") as found:
        apply(found)
        refused = found.wait_condition("nlb/own", "Accepted", "TemplateNotAllowed")
        assert "policy.templates" in refused["message"]
        assert "configmap/own-config" not in found.names("configmaps")


def test_the_api_server_refuses_what_a_template_has_to_write_itself(own: Own):
    with pytest.raises(HarnessError, match="belong into it"):
        apply(own.tenant, realIp={"trustedSources": ["10.0.0.0/8"]})
