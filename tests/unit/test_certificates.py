"""Which certificate a listener has, and what people are told when it can't have it."""

from __future__ import annotations

import time
from functools import partial

import pytest

from consul_nginx.kube.children import data_plane
from consul_nginx.kube.errors import KubeRefused, KubeUnavailable
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.state import State, decode_state, encode_state
from consul_nginx.loops import certificates as loop
from consul_nginx.model.certificates import SecretFinding
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.verdict import Condition, Status
from consul_nginx.plan.certificates import (
    Certificates,
    resolve_certificates,
    resolved,
    secrets_of,
)
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.tls_secret import parse_tls_secret
from unit.certificates import issued, tls_secret
from unit.factories import load_balancer, load_balancer_raw

FINE = Condition(type="ResolvedRefs", status=Status.TRUE, reason="ResolvedRefs", message="all well")
HTTP = {"name": "http", "port": 80}


def https(*names, name="https", port=443, **tls):
    refs = [{"name": item} for item in names]
    return {
        "name": name,
        "port": port,
        "protocol": "HTTPS",
        "tls": {"certificateRefs": refs, **tls},
    }


def certificate(name="web-tls", *hosts, days=90):
    return parse_tls_secret(tls_secret(name, issued(*(hosts or ("a.example.com",)), days=days)))


def resolve(*listeners, findings, remembered=None, now=0.0):
    return resolve_certificates(
        load_balancer=load_balancer(listeners=list(listeners)),
        findings=findings,
        remembered=remembered or {},
        now=now,
    )


def test_what_a_secret_holds_is_in_force():
    found = certificate()
    certificates = resolve(
        HTTP, https("web-tls"), findings={"web-tls": SecretFinding(certificate=found)}
    )
    assert certificates == Certificates(usable={"web-tls": found})
    assert resolved(certificates=certificates, of_mappings=FINE) == FINE


def test_a_missing_secret_is_told_with_its_field_and_what_it_costs():
    certificates = resolve(
        HTTP,
        https("web-tls", "gone"),
        findings={
            "web-tls": SecretFinding(certificate=certificate()),
            "gone": SecretFinding(problem="it does not exist; create it or name another one"),
        },
    )
    assert list(certificates.usable) == ["web-tls"]
    said = resolved(certificates=certificates, of_mappings=FINE)
    assert (said.status, said.reason) == (Status.FALSE, "InvalidCertificateRef")
    assert said.message == (
        "spec.listeners[1].tls.certificateRefs[1].name: Secret shop/gone: it does not exist; "
        "create it or name another one; TLS handshakes on listener https that need it fail until "
        "then"
    )


def test_what_a_broken_secret_held_last_stays_in_force():
    before = certificate()
    certificates = resolve(
        https("web-tls"),
        findings={"web-tls": SecretFinding(problem="tls.key is encrypted; correct it")},
        remembered={"web-tls": before},
    )
    assert certificates.usable == {"web-tls": before}
    [problem] = certificates.problems
    assert "the certificate that it held last is served on" in problem


def test_a_secret_of_two_listeners_is_told_of_at_both():
    certificates = resolve(
        https("gone"),
        https("gone", name="other", port=8443),
        findings={"gone": SecretFinding(problem="it does not exist")},
    )
    assert [problem.split(":")[0] for problem in certificates.problems] == [
        "spec.listeners[0].tls.certificateRefs[0].name",
        "spec.listeners[1].tls.certificateRefs[0].name",
    ]


@pytest.mark.parametrize(("days", "words"), [(-1, "expired on"), (0.5, "expires on"), (90, None)])
def test_the_end_of_a_certificate_is_told_in_time_and_takes_nothing_down(days, words):
    found = certificate(days=days)
    certificates = resolve(
        https("web-tls"), findings={"web-tls": SecretFinding(certificate=found)}, now=time.time()
    )
    said = resolved(certificates=certificates, of_mappings=FINE)
    assert (said.status, certificates.usable) == (Status.TRUE, {"web-tls": found})
    assert (words in said.message) if words else (said == FINE)


def test_each_secret_is_asked_for_once():
    listeners = [https("a", "b"), https("b", "c", name="other", port=8443), HTTP]
    assert secrets_of(load_balancer(listeners=listeners)) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        ({**HTTP, "protocol": "HTTPS"}, "tls belongs to the protocols HTTPS and TLS"),
        ({**HTTP, "protocol": "TLS"}, "tls belongs to the protocols HTTPS and TLS"),
        ({**https("a"), "protocol": "TCP"}, "tls belongs to the protocols HTTPS and TLS"),
        ({**https("a"), "protocol": "HTTP"}, "tls belongs to the protocols HTTPS and TLS"),
        (https(), "certificateRefs name what nginx shows with mode Terminate, at least one"),
        (https(mode="Passthrough"), "mode Passthrough is for protocol TLS"),
        ({**https("a", mode="Passthrough"), "protocol": "TLS"}, "with Passthrough it shows none"),
        (https("../a"), "spec.listeners[0].tls.certificateRefs[0].name"),
        (https("a", minVersion="TLSv1.1"), "spec.listeners[0].tls.minVersion"),
    ],
)
def test_what_does_not_fit_a_listener_is_refused_in_words(listener, words):
    found = parse_load_balancer(load_balancer_raw(listeners=[listener]))
    assert isinstance(found, Invalid)
    assert words in "; ".join(map(str, found.problems))


def test_agents_may_read_the_secrets_that_are_named_and_no_others():
    image = NginxImage(name="x")

    def rules(*secrets):
        objects = data_plane(load_balancer=load_balancer(), image=image, secrets=secrets)
        role = next(item for item in objects if item["kind"] == "Role")
        return [rule for rule in role["rules"] if rule["resources"] == ["secrets"]]

    assert rules() == []
    [rule] = rules("web-tls", "other")
    assert (rule["resourceNames"], rule["verbs"]) == (["web-tls", "other"], ["get"])


def test_certificates_in_force_are_remembered():
    state = State(certificates={"web-tls": certificate()})
    assert decode_state(encode_state(state)) == state


class Secrets:
    """The one call of the client that is made (unit level only)."""

    def __init__(self, **found):
        self.found = found
        self.asked = 0

    async def get(self, kind, ref):
        self.asked += 1
        answer = self.found.get(ref.name)
        if isinstance(answer, Exception):
            raise answer
        return answer


EDGE = ObjectRef(namespace="shop", name="edge")
WEB = ObjectRef(namespace="shop", name="web")


def looked_at(**found):
    kube, changed = Secrets(**found), []
    return (
        kube,
        changed,
        loop.Certificates(look=partial(loop.certificate_in, kube=kube), changed=changed.append),
    )


async def test_a_secret_is_read_once_and_looked_at_again_later():
    made = tls_secret("web", issued("a.example.com"))
    kube, changed, secrets = looked_at(web=made)
    first = (await secrets.findings(EDGE, [WEB]))[WEB]
    again = (await secrets.findings(EDGE, [WEB]))[WEB]
    assert first == again
    assert kube.asked == 1
    await secrets.look_again()
    assert (changed, kube.asked) == ([], 2)
    kube.found["web"] = {**made, "data": {**made["data"], "tls.key": "AAAA"}}
    await secrets.look_again()
    assert changed == [EDGE]
    broken = (await secrets.findings(EDGE, [WEB]))[WEB]
    assert broken.certificate is None
    assert broken.problem == (
        "tls.key holds no private key in PEM that can be read; correct it or name another one"
    )


async def test_an_api_server_that_does_not_answer_changes_nothing():
    kube, changed, secrets = looked_at(web=tls_secret("web", issued("a.example.com")))
    before = await secrets.findings(EDGE, [WEB])
    kube.found["web"] = KubeUnavailable("no answer")
    await secrets.look_again()
    assert (changed, await secrets.findings(EDGE, [WEB])) == ([], before)


async def test_a_secret_that_was_never_read_is_unknown_and_not_missing():
    _, _, secrets = looked_at(web=KubeUnavailable("no answer"))
    with pytest.raises(KubeUnavailable):
        await secrets.findings(EDGE, [WEB])


async def test_a_secret_that_may_not_be_read_is_told_with_the_charts_value():
    _, _, secrets = looked_at(web=KubeRefused("secrets web is forbidden"))
    [finding] = (await secrets.findings(EDGE, [WEB])).values()
    assert not finding.readable
    assert "the chart's secrets.namespaces has to have shop" in finding.problem


async def test_what_nobody_names_any_more_is_forgotten():
    kube, _, secrets = looked_at(web=tls_secret("web", issued("a.example.com")))
    await secrets.findings(EDGE, [WEB])
    await secrets.findings(EDGE, [])
    await secrets.findings(EDGE, [WEB])
    assert kube.asked == 2
    secrets.forget(EDGE)
    await secrets.findings(EDGE, [WEB])
    assert kube.asked == 3


async def test_the_verdict_holds_nothing_secret():
    made = tls_secret("web", issued("a.example.com"))
    _, _, secrets = looked_at(web=made)
    [finding] = (await secrets.findings(EDGE, [WEB])).values()
    assert made["data"]["tls.key"] not in repr(finding)
