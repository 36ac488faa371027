"""Certificates from Secrets on a real cluster: applied, rotated, broken, missing, forbidden."""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from cluster.harness.report import HarnessError
from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import APP, fetch
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from unit.certificates import Issued, issued, pem, tls_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.support.release import Release
    from cluster.support.shop import Shop

NAMESPACE = "vault"
HOST, OTHER = "shop.example.com", "blog.example.com"
HTTP = {"name": "http", "port": 80}
HTTPS = {
    "name": "https",
    "protocol": "HTTPS",
    "port": 443,
    "tls": {"certificateRefs": [{"name": "web"}, {"name": "blog"}]},
}
TLS = {
    "name": "tls",
    "protocol": "TLS",
    "port": 8443,
    "tls": {"certificateRefs": [{"name": "web"}], "minVersion": "TLSv1.3"},
}
# The operator looks at Secrets every 5 s, and the reload has to be seen by both pods.
NOTICED_S = 30.0


@pytest.fixture(scope="module")
def vault(cluster: Cluster, release: Release, installed_shop: Shop) -> Iterator[Tenant]:
    """A namespace whose Secrets the operator may read."""
    with tenant(cluster=cluster, namespace=NAMESPACE) as found:
        try:
            release.install(**{"secrets.namespaces": f"{{{NAMESPACE}}}"})
            yield found
        finally:
            release.install()


@pytest.fixture(scope="module")
def edge(vault: Tenant) -> Tenant:
    """A LoadBalancer with an application behind it, by HTTP and by HTTPS; no Secret is there."""
    vault.load_balancer("edge", listeners=[HTTP, HTTPS, TLS])
    for name, listener, hosts in (
        ("plain", "http", []),
        ("shop", "https", [HOST]),
        ("blog", "https", [OTHER]),
        ("tcp", "tls", []),
    ):
        vault.mapping(
            name,
            loadBalancerRef={"name": "edge"},
            listener=listener,
            hostnames=hosts,
            backends=[{"service": APP}],
        )
    vault.wait_true("nlb/edge", "Ready")
    vault.wait_true("smap/shop", "Programmed")
    return vault


@pytest.fixture
def secure(edge: Tenant) -> Issued:
    """Both Secrets hold good certificates, and nginx shows them; returns that of ``web``."""
    made = issued(HOST)
    put(edge, "web", made)
    put(edge, "blog", issued(OTHER))
    wait_shown(edge, made)
    edge.wait_true("nlb/edge", "ResolvedRefs")
    return made


def put(found: Tenant, name: str, made: Issued) -> None:
    raw = tls_secret(name, made)
    raw["metadata"]["namespace"] = found.namespace
    found.cluster.kubectl.apply([raw])


def address(found: Tenant, port: int) -> str:
    return f"{found.get('service', 'edge')['spec']['clusterIP']}:{port}"


def believing(*made: Issued) -> ssl.SSLContext:
    """Trusts these certificates and no others."""
    context = ssl.create_default_context(cadata="".join(item.chain.decode() for item in made))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def answers(found: Tenant, made: Issued, host: str = HOST, port: int = 443) -> bool:
    """Whether nginx shows exactly this certificate and the application answers."""
    where = address(found, port)
    try:
        return ask(address=where, host=host, path="/features", tls=believing(made))[0] == 200
    except OSError:
        return False


def wait_shown(found: Tenant, made: Issued, *, host: str = HOST) -> None:
    """Wait until each of the pods has answered with this certificate."""

    def all_pods() -> bool:
        return answers(found, made, host) and all_serve_the_bundle(found)

    wait_for(all_pods, what=f"{host} is served with the new certificate", seconds=NOTICED_S)


def all_serve_the_bundle(found: Tenant) -> bool:
    """Whether every pod runs what the ConfigMap holds, all of it."""
    bundle = json.loads(found.get("configmap", "edge-config")["data"]["manifest.json"])["hash"]
    return {(status["serving"] or {}).get("hash") for status in statuses(found)} == {bundle}


def stale(found: Tenant) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = found.get("nlb", "edge")["status"]["dataPlane"].get("stale", [])
    return listed


def statuses(found: Tenant) -> list[dict[str, Any]]:
    return [
        json.loads(fetch(f"http://{pod['status']['podIP']}:9901/status"))
        for pod in found.pods("edge")
    ]


def test_a_missing_secret_is_told_with_field_and_way_out_and_the_rest_is_served(edge: Tenant):
    found = edge.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
    assert found["status"] == "False"
    assert (
        "spec.listeners[1].tls.certificateRefs[0].name: Secret vault/web: it does not exist; "
        "create it or name another one" in found["message"]
    )
    assert ask(address=address(edge, 80), host="any", path="/features")[0] == 200
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask(address=address(edge, 443), host=HOST, tls=believing(issued(HOST)))


def test_the_secret_makes_https_work_with_a_certificate_for_each_name(edge: Tenant):
    web, blog = issued(HOST), issued(OTHER)
    put(edge, "web", web)
    wait_shown(edge, web)
    found = edge.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
    assert "certificateRefs[1].name: Secret vault/blog" in found["message"]
    put(edge, "blog", blog)
    wait_shown(edge, blog, host=OTHER)
    wait_shown(edge, web)
    edge.wait_true("nlb/edge", "ResolvedRefs")
    assert answers(edge, web, port=8443), "TLS is taken off for what is no HTTP to nginx"


def test_certificates_are_rotated_under_traffic_without_a_failed_request(
    edge: Tenant, secure: Issued
):
    authority = issued("authority")
    put(edge, "web", first := issued(HOST, by=authority))
    wait_shown(edge, first)
    known = believing(authority)
    where = address(edge, 443)
    with (
        traffic(address=where, host=HOST, rate=300, tls=known) as kept,
        traffic(address=where, host=HOST, rate=40, keep=False, tls=known) as fresh,
    ):
        for _ in range(3):
            put(edge, "web", made := issued(HOST, by=authority))
            wait_shown(edge, made)
        wait_for(
            lambda: kept.requests + fresh.requests >= 10_000, what="10,000 requests", seconds=120
        )
    print(f"\n{kept.requests} requests over kept connections, {fresh.requests} over new ones")
    assert not kept.failures, kept.explain()
    assert not fresh.failures, fresh.explain()


def test_a_broken_secret_leaves_the_last_good_certificate_in_force_and_recovers(
    edge: Tenant, release: Release, secure: Issued
):
    broken = tls_secret("web", issued(HOST))
    broken["metadata"]["namespace"] = NAMESPACE
    broken["data"]["tls.key"] = b64encode(pem(issued(HOST).key)).decode()
    edge.cluster.kubectl.apply([broken])
    found = edge.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
    assert "tls.key is not the key of the certificate in tls.crt" in found["message"]
    assert "the certificate that it held last is served on" in found["message"]
    assert answers(edge, secure)
    edge.mapping(
        "more",
        loadBalancerRef={"name": "edge"},
        listener="http",
        hostnames=["more.example.com"],
        path={"value": "/more"},
        backends=[{"service": APP}],
    )
    edge.wait_true("smap/more", "Programmed")

    old = release.operator_pod()["metadata"]["name"]
    selector = "--selector=app.kubernetes.io/name=consul-nginx-operator"
    edge.cluster.kubectl("delete", "pods", "-n", OPERATOR_NAMESPACE, selector, "--now")
    release.wait_for_another_operator(old)
    edge.kubectl("delete", "smap/more")
    wait_for(
        lambda: "more.example.com" not in json.dumps(edge.get("configmap", "edge-config")["data"]),
        what="the new operator has written a bundle",
    )
    assert answers(edge, secure), "a new operator knows what was in force"

    repaired = issued(HOST)
    put(edge, "web", repaired)
    wait_shown(edge, repaired)
    edge.wait_true("nlb/edge", "ResolvedRefs")


def test_a_deleted_secret_takes_nothing_down(edge: Tenant, secure: Issued):
    edge.kubectl("delete", "secret/web")
    found = edge.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
    assert "Secret vault/web: it does not exist" in found["message"]
    assert answers(edge, secure)


def test_a_new_pod_serves_all_but_what_needs_the_missing_secret(edge: Tenant, secure: Issued):
    edge.kubectl("delete", "secret/web")
    edge.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
    before = {pod["metadata"]["name"] for pod in edge.pods("edge")}
    edge.kubectl("scale", "nlb/edge", "--replicas=3")
    lacking = wait_for(
        lambda: [
            item for item in stale(edge) if "Secret web: it does not exist" in item["message"]
        ],
        what="the new pod says what it lacks",
    )
    assert not before & {item["pod"] for item in lacking}
    new = wait_for(
        lambda: next(
            (
                pod["status"]["podIP"]
                for pod in edge.pods("edge")
                if pod["metadata"]["name"] not in before
                and all(item["ready"] for item in pod["status"].get("containerStatuses", []))
                and pod["status"].get("containerStatuses")
            ),
            None,
        ),
        what="the new pod is ready",
    )
    assert ask(address=f"{new}:80", host="any", path="/features")[0] == 200
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask(address=f"{new}:443", host=HOST, tls=believing(secure))
    put(edge, "web", secure)
    wait_for(
        lambda: len(statuses(edge)) == 3 and all_serve_the_bundle(edge),
        what="the new pod has it all",
    )
    assert ask(address=f"{new}:443", host=HOST, path="/features", tls=believing(secure))[0] == 200
    edge.kubectl("scale", "nlb/edge", "--replicas=2")
    wait_for(lambda: len(edge.pods("edge")) == 2, what="two pods again")


@pytest.mark.parametrize(
    ("who", "what", "allowed"),
    [
        ("vault:edge", ("get", "secret/web", "-n", "vault"), True),
        ("vault:edge", ("get", "secret/another", "-n", "vault"), False),
        ("vault:edge", ("list", "secrets", "-n", "vault"), False),
        ("vault:edge", ("watch", "secrets", "-n", "vault"), False),
        ("vault:edge", ("get", "secret/web", "-n", "shop"), False),
        ("consul-nginx:consul-nginx-operator", ("get", "secrets", "-n", "vault"), True),
        ("consul-nginx:consul-nginx-operator", ("list", "secrets", "-n", "vault"), False),
        ("consul-nginx:consul-nginx-operator", ("watch", "secrets", "-n", "vault"), False),
        ("consul-nginx:consul-nginx-operator", ("update", "secrets", "-n", "vault"), False),
        ("consul-nginx:consul-nginx-operator", ("get", "secrets", "-n", "shop"), False),
    ],
)
def test_secrets_are_read_by_name_only(
    edge: Tenant, secure: Issued, who: str, what: tuple[str, ...], allowed: bool
):
    subject = f"--as=system:serviceaccount:{who}"
    said = edge.cluster.kubectl("auth", "can-i", *what, subject, check=False)
    assert said.strip() == ("yes" if allowed else "no")


def test_the_key_is_in_no_config_map_log_or_status(edge: Tenant, secure: Issued):
    line = pem(secure.key).decode().splitlines()[1]
    coded = b64encode(pem(secure.key)).decode()[60:120]
    pods = edge.pods("edge")
    assert pods
    texts = [edge.kubectl("get", "configmaps,nlb,smap,events,pods", "-o", "yaml")]
    texts += [
        edge.kubectl("logs", pod["metadata"]["name"], "-c", container)
        for pod in pods
        for container in ("agent", "nginx")
    ]
    texts.append(
        edge.cluster.kubectl(
            "logs",
            f"--namespace={OPERATOR_NAMESPACE}",
            "--selector=app.kubernetes.io/name=consul-nginx-operator",
            "--tail=-1",
        )
    )
    assert not any(word in text for text in texts for word in (line, coded, "PRIVATE KEY"))


def test_without_the_right_the_chart_value_is_named_and_the_rest_is_served(
    cluster: Cluster, edge: Tenant
):
    with tenant(cluster=cluster, namespace="cellar") as cellar:
        cellar.load_balancer("edge", listeners=[HTTP, HTTPS], deployment={"replicas": 1})
        put(cellar, "web", issued(HOST))
        cellar.mapping(
            "plain",
            loadBalancerRef={"name": "edge"},
            listener="http",
            backends=[{"service": APP}],
        )
        cellar.wait_true("nlb/edge", "Ready")
        found = cellar.wait_condition("nlb/edge", "ResolvedRefs", "InvalidCertificateRef")
        assert "the chart's secrets.namespaces has to have cellar" in found["message"]
        assert ask(address=address(cellar, 80), host="any", path="/features")[0] == 200


def test_the_end_of_certificates_is_told_to_prometheus(
    edge: Tenant, release: Release, secure: Issued
):
    pod = release.operator_pod()
    ends = secure.certificate.not_valid_after_utc.timestamp()
    series = (
        'consul_nginx_certificate_expiry_timestamp_seconds{listener="https",name="edge",'
        'namespace="vault",secret="web"} '
    )

    def told() -> bool:
        lines = fetch(f"http://{pod['status']['podIP']}:8080/metrics").splitlines()
        values = [float(line.removeprefix(series)) for line in lines if line.startswith(series)]
        return values == [ends]

    wait_for(told, what="the end of the certificate in force", seconds=NOTICED_S)
    assert ends > time.time()


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        ({**HTTP, "protocol": "HTTPS"}, "tls belongs to the protocols HTTPS and TLS"),
        ({**HTTPS, "protocol": "TCP"}, "tls belongs to the protocols HTTPS and TLS"),
        ({**HTTPS, "tls": {}}, "at least one"),
        ({**HTTPS, "tls": {"mode": "Passthrough"}}, "mode Passthrough is for protocol TLS"),
        ({**TLS, "tls": {**TLS["tls"], "mode": "Passthrough"}}, "with Passthrough it"),
        ({**TLS, "http2": True}, "http2 and realIp are for listeners that speak HTTP or HTTPS"),
        ({**HTTPS, "httpsRedirect": {}}, "httpsRedirect is for listeners that speak HTTP"),
        ({**TLS, "tls": {**TLS["tls"], "minVersion": "SSLv3"}}, "TLSv1.3"),
    ],
)
def test_what_does_not_fit_is_refused_at_apply(
    cluster: Cluster, release: Release, listener: dict[str, Any], words: str
):
    body = {
        "apiVersion": "consul-nginx.dev/v1alpha1",
        "kind": "LoadBalancer",
        "metadata": {"name": "edge", "namespace": "default"},
        "spec": {"listeners": [listener]},
    }
    with pytest.raises(HarnessError) as refusal:
        cluster.kubectl("apply", "--dry-run=server", "--filename=-", stdin=json.dumps(body))
    assert words in str(refusal.value)
