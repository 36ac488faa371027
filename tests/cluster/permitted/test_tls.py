"""Secrets on a real cluster: certificates and users, applied, rotated, broken, missing, forbidden.

And who is believed: backends and clients by authorities.
"""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64decode, b64encode
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from cluster.harness.report import HarnessError
from cluster.support.release import NAMESPACE as OPERATOR_NAMESPACE
from cluster.support.shop import APP, fetch
from cluster.support.tenant import Tenant, tenant
from cluster.support.traffic import ask, traffic
from cluster.support.waiting import wait_for
from unit.certificates import Issued, issued, pem, show, tls_secret
from unit.users import credentials, users_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.harness.cluster import Cluster
    from cluster.permitted.conftest import Permitted
    from cluster.support.release import Release

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
MUTUAL = {
    "name": "mutual",
    "protocol": "HTTPS",
    "port": 9443,
    "tls": {
        "certificateRefs": [{"name": "web"}],
        "clientValidation": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "clients"}]},
    },
}
# The operator looks at Secrets every 5 s, and the reload has to be seen by both pods.
NOTICED_S = 30.0


@pytest.fixture(scope="module")
def edge(permitted: Permitted) -> Tenant:
    """A LoadBalancer with an application behind it, by HTTP and by HTTPS; no Secret is there."""
    vault = permitted.vault
    authorities(vault, "clients", issued("nobody"))
    vault.load_balancer("edge", listeners=[HTTP, HTTPS, TLS, MUTUAL])
    for name, listener, hosts in (
        ("plain", "http", []),
        ("shop", "https", [HOST]),
        ("blog", "https", [OTHER]),
        ("tcp", "tls", []),
        ("mutual", "mutual", []),
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


@pytest.fixture(scope="module")
def good() -> dict[str, Issued]:
    """What the Secrets held when ``secure`` was used last, by name."""
    return {}


@pytest.fixture
def secure(edge: Tenant, good: dict[str, Issued]) -> Issued:
    """Both Secrets hold good certificates, and nginx shows them; returns that of ``web``."""
    if not good or not all(holds(edge, name, made) for name, made in good.items()):
        good |= {"web": issued(HOST), "blog": issued(OTHER)}
        for name, made in good.items():
            put(edge, name, made)
    wait_shown(edge, good["web"])
    edge.wait_true("nlb/edge", "ResolvedRefs")
    return good["web"]


def holds(found: Tenant, name: str, made: Issued) -> bool:
    said = found.kubectl("get", f"secret/{name}", "--ignore-not-found", "-o", "json")
    return bool(said and json.loads(said)["data"] == tls_secret(name, made)["data"])


def put(found: Tenant, name: str, made: Issued) -> None:
    raw = tls_secret(name, made)
    raw["metadata"]["namespace"] = found.namespace
    found.cluster.read.apply("secret", raw)


def authorities(found: Tenant, name: str, *made: Issued) -> None:
    """Apply a ConfigMap with them."""
    raw = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": found.namespace},
        "data": {"ca.crt": "".join(item.chain.decode() for item in made) or "no certificate"},
    }
    found.cluster.kubectl.apply([raw])


def put_users(found: Tenant, **passwords: str) -> str:
    """Apply the Secret ``admins``; returns what is in it."""
    raw = users_secret("admins", **passwords)
    raw["metadata"]["namespace"] = found.namespace
    found.cluster.kubectl.apply([raw])
    return b64decode(raw["data"]["auth"]).decode()


def login(found: Tenant, user: str, password: str) -> int:
    """The status for somebody who knows a password."""
    headers = {"Authorization": credentials(user, password)}
    return ask(address=address(found, 80), host="any", path="/staff", headers=headers)[0]


def may_read_users(found: Tenant) -> bool:
    """Whether the agents may."""
    subject = "--as=system:serviceaccount:vault:edge"
    may = ("auth", "can-i", "get", "secret/admins", "-n", NAMESPACE, subject)
    return found.cluster.kubectl(*may, check=False).strip() == "yes"


def wait_let_in(found: Tenant, user: str, password: str, *, status: int = 200) -> None:
    """Wait until each of the pods answers so."""
    wait_for(
        lambda: login(found, user, password) == status and all_serve_the_bundle(found),
        what=f"{user} gets {status}",
        seconds=NOTICED_S,
    )


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


def told(edge: Tenant) -> list[str]:
    """All that can be read without the right to read Secrets."""
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
    return texts


@contextmanager
def mapped(found: Tenant, name: str, **spec: Any) -> Iterator[None]:
    """A mapping of the plain listener's; what is wrong with it would be told by ``edge`` too."""
    try:
        found.mapping(name, loadBalancerRef={"name": "edge"}, listener="http", **spec)
        found.wait_true(f"smap/{name}", "Programmed")
        yield
    finally:
        found.kubectl("delete", f"smap/{name}")


@pytest.fixture
def staff(edge: Tenant) -> Iterator[Tenant]:
    """With a path for the users of a Secret; it is not there, or what a test before left."""
    with mapped(
        edge,
        "staff",
        path={"value": "/staff"},
        replacePrefix="/features",
        backends=[{"service": APP}],
        basicAuth={"secretRef": {"name": "admins"}, "realm": "Staff"},
    ):
        yield edge


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


def test_certificates_are_rotated_under_traffic_without_a_failed_request(edge: Tenant):
    authority = issued("authority")
    put(edge, "web", first := issued(HOST, by=authority))
    wait_shown(edge, first)
    known = believing(authority)
    where = address(edge, 443)
    with (
        traffic(address=where, host=HOST, rate=500, tls=known) as kept,
        traffic(address=where, host=HOST, rate=60, keep=False, tls=known) as fresh,
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
    assert not any(word in text for text in told(edge) for word in (line, coded, "PRIVATE KEY"))


def test_backends_are_verified_by_authorities_that_may_change(edge: Tenant, secure: Issued):
    """The backend is nginx itself, which shows a certificate."""
    another = issued("another")
    authorities(edge, "internal", another)

    def answered(status: int) -> bool:
        asked = ask(address=address(edge, 80), host=HOST, path="/verified")[0]
        return asked == status and all_serve_the_bundle(edge)

    with mapped(
        edge,
        "verified",
        path={"value": "/verified"},
        replacePrefix="/features",
        backends=[{"service": "nobody"}],
        health={"onEmpty": "Fallback"},
        fallback=[{"address": address(edge, 443).partition(":")[0], "port": 443}],
        backendProtocol="HTTPS",
        backendTls={
            "caCertificateRefs": [{"kind": "ConfigMap", "name": "internal"}],
            "serverName": HOST,
        },
    ):
        wait_for(lambda: answered(502), what="a backend of another authority is not used")
        logs = "".join(
            edge.kubectl("logs", pod["metadata"]["name"], "-c", "nginx", "--since=60s")
            for pod in edge.pods("edge")
        )
        assert "upstream SSL certificate verify error" in logs
        authorities(edge, "internal", another, secure)
        wait_for(lambda: answered(200), what="the authorities are followed", seconds=NOTICED_S)
        authorities(edge, "internal")
        found = edge.wait_condition("smap/verified", "ResolvedRefs", "InvalidCertificateRef")
        assert (
            "spec.backendTls.caCertificateRefs[0].name: ConfigMap vault/internal: ca.crt holds no "
            "certificate in PEM" in found["message"]
        )
        assert answered(200), "those that nginx has count on"


def test_clients_are_verified_by_authorities_that_may_change(edge: Tenant, secure: Issued):
    first, second = issued("first"), issued("second")
    clients = {name: issued("client", by=by) for name, by in (("a", first), ("b", second))}

    def answered(client: Issued | None) -> int:
        context = believing(secure)
        if client is not None:
            show(context, client)
        return ask(address=address(edge, 9443), host=HOST, path="/features", tls=context)[0]

    def all_answered(**statuses: int) -> bool:
        found = {name: answered(clients.get(name)) for name in statuses}
        return found == statuses and all_serve_the_bundle(edge)

    assert all_answered(a=400, b=400, nobody=400)
    for authority, statuses in (
        (first, {"a": 200, "b": 400, "nobody": 400}),
        (second, {"a": 400, "b": 200, "nobody": 400}),
    ):
        authorities(edge, "clients", authority)
        wait_for(partial(all_answered, **statuses), what=f"they are {statuses}", seconds=NOTICED_S)


def test_users_are_read_from_their_secret_and_nobody_else_is_let_in(edge: Tenant, staff: Tenant):
    found = edge.wait_condition("smap/staff", "ResolvedRefs", "InvalidSecretRef")
    assert (
        "spec.basicAuth.secretRef.name: Secret vault/admins: it does not exist; create it, with "
        "the key auth, or name another one; requests get 503 until then" in found["message"]
    )
    assert login(edge, "alice", "one") == 503
    assert ask(address=address(edge, 80), host="any", path="/features")[0] == 200
    assert not may_read_users(edge)

    held = put_users(edge, alice="one")
    wait_let_in(edge, "alice", "one")
    edge.wait_true("smap/staff", "ResolvedRefs")
    assert login(edge, "alice", "another") == 401
    assert ask(address=address(edge, 80), host="any", path="/staff")[0] == 401
    hashed = held.strip().partition(":")[2]
    assert not any(hashed in text for text in told(edge))
    assert may_read_users(edge)


def test_passwords_are_changed_under_traffic_without_a_failed_request(edge: Tenant, staff: Tenant):
    put_users(edge, alice="one", bob="old")
    wait_let_in(edge, "bob", "old")
    headers = {"Authorization": credentials("alice", "one")}
    where = address(edge, 80)
    with (
        traffic(address=where, host="any", path="/staff", headers=headers) as kept,
        traffic(address=where, host="any", path="/staff", headers=headers, keep=False) as fresh,
    ):
        put_users(edge, alice="one", bob="new")
        wait_let_in(edge, "bob", "new")
        wait_let_in(edge, "bob", "old", status=401)
    print(f"\n{kept.requests} requests over kept connections, {fresh.requests} over new ones")
    assert not kept.failures, kept.explain()
    assert not fresh.failures, fresh.explain()


def test_users_that_break_leave_those_before_in_force_and_deleted_ones_nobody(
    edge: Tenant, staff: Tenant
):
    put_users(edge, alice="one")
    wait_let_in(edge, "alice", "one")
    edge.wait_true("smap/staff", "ResolvedRefs")
    edge.secret("admins", auth="alice:{PLAIN}geheim")
    found = edge.wait_condition("smap/staff", "ResolvedRefs", "InvalidSecretRef")
    assert "Secret vault/admins: auth, line 1: without a salt" in found["message"]
    assert "the users that it held last are let in on" in found["message"]
    assert login(edge, "alice", "one") == 200
    wait_for(lambda: not may_read_users(edge), what="what holds no users is not for agents")
    assert not any("geheim" in text for text in told(edge))
    edge.kubectl("delete", "secret/admins")
    wait_let_in(edge, "alice", "one", status=503)


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
