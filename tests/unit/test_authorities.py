"""By whom backends are verified: never by nobody."""

from __future__ import annotations

from base64 import b64encode

import pytest

from consul_nginx.kube.errors import KubeRefused
from consul_nginx.loops.certificates import authorities_in
from consul_nginx.model.authorities import (
    Authority,
    AuthorityFinding,
    AuthorityKind,
    authorities_id,
)
from consul_nginx.model.layout import Layout
from consul_nginx.nginx.render import render
from consul_nginx.plan.authorities import problems_of_clients
from consul_nginx.resources.authorities import AuthoritiesError, parse_authorities
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.service_mapping import parse_service_mapping
from unit.certificates import issued, pem
from unit.factories import load_balancer, load_balancer_raw, mapping, mapping_raw, planned

SECRET = Authority(kind=AuthorityKind.SECRET, namespace="shop", name="ca")
CONFIG_MAP = Authority(kind=AuthorityKind.CONFIG_MAP, namespace="shop", name="ca")
PEM = issued("authority").chain.decode()
FILE = f"authority-{authorities_id([SECRET])}.conf"


def verified(*refs, **more):
    return {
        "backendProtocol": "HTTPS",
        "backendTls": {"caCertificateRefs": list(refs or ({"name": "ca"},)), **more},
    }


def plan(findings=None, **spec):
    return planned(
        load_balancer=load_balancer(),
        mappings=[mapping(**(spec or verified()))],
        snapshot={},
        authorities=findings,
    )


def bundle(found):
    return render(configuration=found.configuration, layout=Layout()).files


def listener(files):
    [text] = [text for name, text in files.items() if name.startswith("listener-")]
    return text


def test_backends_are_verified_by_the_authorities_and_the_name():
    files = bundle(plan({SECRET: AuthorityFinding(pem=PEM)}, **verified(serverName="a.internal")))
    assert files[FILE] == PEM
    for line in ("proxy_ssl_verify on;", f"proxy_ssl_trusted_certificate {FILE};",
                 "proxy_ssl_name a.internal;"):  # fmt: skip
        assert line in listener(files)


def test_without_a_server_name_the_certificate_is_for_the_host():
    files = bundle(plan({SECRET: AuthorityFinding(pem=PEM)}))
    assert "proxy_ssl_name $host;" in listener(files)


def test_authorities_that_can_not_be_read_are_those_that_nginx_has_else_nobody():
    missing = plan({SECRET: AuthorityFinding(problem="it does not exist")})
    nobodys = bundle(missing)[FILE]
    assert nobodys.startswith("-----BEGIN CERTIFICATE-----")
    assert nobodys != PEM
    assert "proxy_ssl_verify on;" in listener(bundle(missing))
    before = {FILE: PEM}
    kept = render(configuration=missing.configuration, layout=Layout(), previous=before).files
    assert kept[FILE] == PEM


def test_a_set_that_is_not_complete_is_not_used():
    spec = verified({"name": "ca"}, {"name": "ca", "kind": "ConfigMap"})
    found = plan({SECRET: AuthorityFinding(pem=PEM)}, **spec)
    [slot] = found.configuration.authorities
    assert slot.pem is None
    both = {item: AuthorityFinding(pem=PEM) for item in (SECRET, CONFIG_MAP)}
    [slot] = plan(both, **spec).configuration.authorities
    assert slot.pem == PEM * 2


def test_what_is_wrong_with_an_authority_is_told_at_the_mapping():
    [(_, verdict)] = plan({SECRET: AuthorityFinding(problem="it does not exist")}).mappings
    said = verdict.resolved
    assert (said.status, said.reason) == ("False", "InvalidCertificateRef")
    assert said.message.startswith(
        "spec.backendTls.caCertificateRefs[0].name: Secret shop/ca: it does not exist; "
        "nginx verifies by what it has of them, and without any it passes nothing on"
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**verified(), "backendProtocol": "HTTP"}, "spec.backendTls: "),
        (verified(verify=False), "verify and caCertificateRefs need each other"),
        ({"backendProtocol": "HTTPS", "backendTls": {}}, "verify and caCertificateRefs need each"),
        (verified(serverName="a..b"), "spec.backendTls.serverName"),
        (verified(serverName="*.example.com"), "spec.backendTls.serverName"),
        (verified({"name": "../x"}), "spec.backendTls.caCertificateRefs[0].name"),
        (verified({"name": "x", "kind": "Pod"}), "spec.backendTls.caCertificateRefs[0].kind"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(spec, words):
    found = parse_service_mapping(mapping_raw(**spec))
    assert isinstance(found, Invalid)
    assert words in "; ".join(map(str, found.problems))


@pytest.mark.parametrize("kind", list(AuthorityKind))
def test_only_certificates_are_taken_of_what_stands_there(kind):
    text = f"ssl_evil on;\n{PEM}# }} evil {{\n{pem(issued('x').key).decode()}"
    data = b64encode(text.encode()).decode() if kind is AuthorityKind.SECRET else text
    assert parse_authorities(kind=kind, raw={"data": {"ca.crt": data}}) == PEM


@pytest.mark.parametrize("kind", list(AuthorityKind))
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "it has no key ca.crt; it has: none"),
        ({"other": "x"}, "it has no key ca.crt; it has: other"),
        ({"ca.crt": "AAAA"}, "ca.crt holds no certificate in PEM"),
    ],
)
def test_what_is_no_authority_is_told(kind, data, words):
    with pytest.raises(AuthoritiesError, match=words):
        parse_authorities(kind=kind, raw={"data": data})


class Objects:
    """The one call of the client that is made (unit level only)."""

    def __init__(self, answer):
        self.answer = answer

    async def get(self, kind, ref):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("authority", "answer", "words"),
    [
        (SECRET, None, "it does not exist; create it or name another one"),
        (SECRET, KubeRefused("forbidden"), "the chart's secrets.namespaces has to have shop"),
        (CONFIG_MAP, KubeRefused("forbidden"), "it can't be read: forbidden"),
        (CONFIG_MAP, {"data": {}}, "it has no key ca.crt; it has: none; correct it"),
    ],
)
async def test_what_can_not_be_read_is_told_with_a_way_out(authority, answer, words):
    found = await authorities_in(authority, kube=Objects(answer))
    assert found.pem is None
    assert words in found.problem


async def test_what_is_read_is_in_force():
    found = await authorities_in(CONFIG_MAP, kube=Objects({"data": {"ca.crt": PEM}}))
    assert found == AuthorityFinding(pem=PEM)


def mutual(**spec):
    listener = {
        "name": "http",
        "port": 443,
        "protocol": "HTTPS",
        "tls": {
            "certificateRefs": [{"name": "web"}],
            "clientValidation": {"caCertificateRefs": [{"name": "ca"}]},
        },
    }
    return load_balancer(listeners=[{**listener, **spec}])


def test_clients_are_verified_on_every_host_of_the_listener_by_nobody_if_need_be():
    for hostnames in ([], ["shop.example.com"]):
        found = planned(
            load_balancer=mutual(), mappings=[mapping(hostnames=hostnames)], snapshot={}
        )
        files = bundle(found)
        servers = listener(files).count("server {")
        assert listener(files).count("ssl_verify_client on;") == servers
        assert listener(files).count(f"ssl_client_certificate {FILE};") == servers
        assert files[FILE].startswith("-----BEGIN CERTIFICATE-----")


def test_what_is_wrong_with_clients_authorities_is_told_at_the_load_balancer():
    finding = {SECRET: AuthorityFinding(problem="it does not exist")}
    assert problems_of_clients(mutual(), finding) == (
        "spec.listeners[0].tls.clientValidation.caCertificateRefs[0].name: Secret shop/ca: it does "
        "not exist; nginx verifies by what it has of them, and without any it passes nothing on",
    )
    assert problems_of_clients(mutual(), {SECRET: AuthorityFinding(pem=PEM)}) == ()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"mode": "Passthrough", "clientValidation": {"caCertificateRefs": [{"name": "ca"}]}},
         "clientValidation needs mode Terminate"),
        ({"certificateRefs": [{"name": "web"}], "clientValidation": {"caCertificateRefs": []}},
         "spec.listeners[0].tls.clientValidation.caCertificateRefs"),
    ],
)  # fmt: skip
def test_a_client_validation_that_validates_nothing_is_refused(tls, words):
    listener = {"name": "tls", "port": 443, "protocol": "TLS", "tls": tls}
    found = parse_load_balancer(load_balancer_raw(listeners=[listener]))
    assert isinstance(found, Invalid)
    assert words in "; ".join(map(str, found.problems))
