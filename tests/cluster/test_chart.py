"""The chart, through the real Helm and the real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster.harness.report import HarnessError
from cluster.support.release import CHART, NAME, NAMESPACE

if TYPE_CHECKING:
    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release

MONITORS = ("ServiceMonitor", "PodMonitor")
EVERYTHING = {
    "replicaCount": 2,
    "imagePullSecrets": [{"name": "registry"}],
    "nginx": {"imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}]},
    "consul": {
        "address": "https://consul.example.com",
        "datacenter": "dc1",
        "tokenSecret": {"name": "consul-token"},
        "tls": {"caSecret": {"name": "consul-ca", "key": "tls.crt"}},
    },
    "secrets": {"namespaces": [NAMESPACE]},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True, "interval": "1m30s"},
    },
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "apiServer": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]},
        "consul": {"to": [{"namespaceSelector": {}}]},
    },
    "policy": {
        "consulAddresses": ["http://other:8500"],
        "mappings": [{"namespaces": ["a"], "hostnames": ["*"], "services": ["a-*"]}],
    },
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
}


def render_everything(release: Release) -> list[dict[str, Any]]:
    flags = (f"--set-json={key}={json.dumps(value)}" for key, value in EVERYTHING.items())
    return release.render(*flags, name="x")


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [item for item in objects if item["kind"] == kind]
    return found


def rules(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [rule for item in objects if item["kind"] == kind for rule in item["rules"]]


def test_lint_is_clean(release: Release):
    assert "0 chart(s) failed" in release.helm("lint", "--strict", str(CHART))


def test_no_rule_has_a_wildcard_or_reads_secrets(release: Release):
    for rule in rules(release.render(), "ClusterRole") + rules(release.render(), "Role"):
        words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "*" not in words
        assert "secrets" not in words


def test_only_what_an_edit_makes_superfluous_can_be_deleted(release: Release):
    """Everything else goes with its LoadBalancer, by ownerReferences."""
    deleting = [
        resource
        for kind in ("ClusterRole", "Role")
        for rule in rules(release.render(), kind)
        for resource in rule["resources"]
        if "delete" in rule["verbs"]
    ]
    assert deleting == ["services", "deployments", "daemonsets", "poddisruptionbudgets"]


def test_secrets_are_read_by_get_and_only_in_the_namespaces_that_are_listed(release: Release):
    objects = release.render("--set=secrets.namespaces={a,b}")
    reading = [
        (item["metadata"].get("namespace"), rule["verbs"])
        for item in objects
        if item["kind"].endswith("Role")
        for rule in item["rules"]
        if "secrets" in rule["resources"]
    ]
    assert reading == [("a", ["get"]), ("b", ["get"])]


def test_with_namespaces_nothing_is_granted_elsewhere(release: Release):
    objects = release.render("--set=namespaces={a,b}", "--set=registration.clusterName=prod")
    assert not [item for item in objects if item["kind"].startswith("Cluster")]
    roles = [item for item in objects if item["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b", NAMESPACE]
    assert {name for rule in roles[-1]["rules"] for name in rule["resources"]} == {"leases"}


def test_with_namespaces_the_cluster_must_be_given_a_name(release: Release):
    with pytest.raises(HarnessError, match=r"registration\.clusterName: empty"):
        release.render("--set=namespaces={a,b}")
    release.render("--set=namespaces={a,b}", "--set=registration.enabled=false")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("consul.address=consul:8500", "/consul/address"),
        ("logLevel=loud", "/logLevel"),
        ("consul.adress=x", "adress"),
        ("consul.tls.caSecret.nmae=x", "nmae"),
        ("image.tag=", "/image/tag"),
        ("nginxImage.tag=x", "nginxImage"),
        ("nginx.imagePullSecrets={registry}", "/nginx/imagePullSecrets/0"),
        ("replicaCount=0", "/replicaCount"),
        ("metrics.podMonitor.interval=30", "/metrics/podMonitor/interval"),
        ("networkPolicy.apiServer.ports=[]", "/networkPolicy/apiServer/ports"),
        ("networkPolicy.consul.ports={70000}", "/networkPolicy/consul/ports/0"),
        ("resources.limit.memory=1Gi", "limit"),
        ("extraEnv[0].nane=x", "/extraEnv/0"),
        ("policy.consulAddresses={consul:8500}", "/policy/consulAddresses/0"),
        ("policy.mappings[0].hostnames={a}", "/policy/mappings/0"),
    ],
)
def test_a_bad_value_is_refused_by_name(release: Release, setting: str, words: str):
    with pytest.raises(HarnessError, match="don't meet the specifications") as refusal:
        release.render(f"--set={setting}")
    assert words in str(refusal.value)


def test_every_value_has_its_place_in_the_schema():
    """Keys that the schema does not know would be refused by every installation."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == schema["properties"].keys() - {"global"}


def test_the_api_server_takes_everything_that_can_be_switched_on(
    cluster: Cluster, release: Release
):
    """No network plugin of this cluster enforces a NetworkPolicy: only its form is looked at."""
    objects = [item for item in render_everything(release) if item["kind"] not in MONITORS]
    assert {"NetworkPolicy", "PodDisruptionBudget", "Pod"} <= {item["kind"] for item in objects}
    words = ("create", "--dry-run=server", "--filename=-", "--output=name")
    said = cluster.kubectl(*words, stdin=yaml.safe_dump_all(objects)).split()
    assert len(said) == len(objects)


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://consul-server.consul.svc:8500", 8500),
        ("https://consul.example.com", 443),
        ("http://consul", 80),
        ("https://[fd00::1]:8501", 8501),
    ],
)
def test_the_network_policy_lets_the_operator_reach_consul(
    release: Release, address: str, port: int
):
    flags = ("--set=networkPolicy.enabled=true", f"--set=consul.address={address}")
    policy = one(release.render(*flags), "NetworkPolicy")
    ports = [item["port"] for rule in policy["spec"]["egress"] for item in rule["ports"]]
    assert ports == [53, 53, 443, 6443, port, 9901]


def test_the_network_policy_lets_the_operator_reach_every_consul_that_may_be_named(
    release: Release,
):
    addresses = "policy.consulAddresses={https://a.example.com,http://b:8501/,http://c:8500}"
    flags = ("--set=networkPolicy.enabled=true", f"--set={addresses}")
    policy = one(release.render(*flags), "NetworkPolicy")
    ports = [item["port"] for rule in policy["spec"]["egress"] for item in rule["ports"]]
    assert ports == [53, 53, 443, 6443, 8500, 443, 8501, 9901]


def test_several_replicas_are_replaced_one_at_a_time(release: Release):
    [one_pod, two_pods] = [
        release.render(f"--set=replicaCount={count}") for count in (1, 2)
    ]  # fmt: skip
    assert not [item for item in one_pod if item["kind"] == "PodDisruptionBudget"]
    assert one(two_pods, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_consuls_ca_is_mounted_where_the_operator_and_its_check_look_for_it(release: Release):
    objects = release.render("--set=consul.tls.caSecret.name=ca,consul.tls.caSecret.key=a.pem")
    for pod in (
        one(objects, "Deployment")["spec"]["template"]["spec"],
        one(objects, "Pod")["spec"],
    ):
        [container] = pod["containers"]
        env = {item["name"]: item.get("value") for item in container["env"]}
        [mount] = [item for item in container["volumeMounts"] if item["name"] == "consul-ca"]
        [volume] = [item for item in pod["volumes"] if item["name"] == "consul-ca"]
        [item] = volume["secret"]["items"]
        assert volume["secret"]["secretName"] == "ca"
        assert env["CONSUL_NGINX_CONSUL_CA_FILE"] == f"{mount['mountPath']}/{item['path']}"
        assert item["key"] == "a.pem"


def test_names_fit_however_long_the_releases_is(release: Release):
    objects = release.render(name="r" * 53)
    assert max(len(item["metadata"]["name"]) for item in objects) <= 63


def test_helm_test_finds_the_installation_well(cluster: Cluster, release: Release):
    done = release.run_helm("test", NAME, "--timeout=120s")
    assert "Phase:          Succeeded" in done.stdout
    for words in (
        "ok    Kubernetes serves LoadBalancer and ServiceMapping",
        "ok    Consul at http://consul-server.consul.svc:8500 answers; it has 3 servers",
        "ok    operator at http://consul-nginx-operator-metrics:8080: ready",
    ):
        assert words in done.stderr


def test_the_check_of_helm_test_can_fail(cluster: Cluster, release: Release):
    command = ("/opt/consul-nginx/bin/python", "-m", "consul_nginx.cli", "check")
    where = ("exec", "-n", NAMESPACE, f"deployment/{NAME}", "--")
    said = cluster.kubectl(
        *where, *command, "--operator-url=http://127.0.0.1:1", check=False
    ).splitlines()
    assert [line.split()[0] for line in said] == ["ok", "ok", "FAIL"]


def test_notes_say_what_to_do_next(release: Release):
    notes = release.helm("get", "notes", NAME)
    for words in ("helm test consul-nginx-operator", "kind: LoadBalancer", "kubectl get consul"):
        assert words in notes
