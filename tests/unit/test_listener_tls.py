"""TLS in the plan: names, claims, certificates; whatever stands in a certificate."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from consul_nginx.model.layout import Layout
from consul_nginx.model.secret_files import NO_CERTIFICATE
from consul_nginx.nginx.render import render
from consul_nginx.plan.listener_tls import certificate_id
from consul_nginx.plan.permissions import Permissions
from consul_nginx.resources.policy import parse_policy
from consul_nginx.resources.tls_secret import parse_tls_secret
from unit.certificates import issued, tls_secret
from unit.factories import load_balancer, mapping, planned

PASSTHROUGH = {"name": "x", "port": 8443, "protocol": "TLS", "tls": {"mode": "Passthrough"}}


def https(*secrets, **more):
    refs = [{"name": name} for name in secrets]
    return {
        "name": "x", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": refs}, **more,
    }  # fmt: skip


def certificates(**hosts):
    return {
        name: parse_tls_secret(tls_secret(name, issued(*found))) for name, found in hosts.items()
    }


def plan(listener, *mappings, **more):
    return planned(
        load_balancer=load_balancer(listeners=[listener]), mappings=mappings, snapshot={}, **more
    )


def conditions(found):
    return {item.meta.ref.name: verdict.accepted for item, verdict in found.mappings}


def shown(found):
    [listener] = found.configuration.listeners
    return {host.hostname: host.certificate for host in listener.hosts}


def test_names_of_a_tls_listener_belong_to_one_mapping_each():
    found = conditions(
        plan(
            PASSTHROUGH,
            mapping("a", listener="x", hostnames=["one.example.com", "two.example.com"]),
            mapping("b", listener="x", hostnames=["two.example.com"]),
            mapping("c", listener="x"),
            mapping("d", listener="x"),
        )
    )
    assert {name: item.reason for name, item in found.items()} == {
        "a": "Accepted", "b": "Conflicted", "c": "Accepted", "d": "Conflicted",
    }  # fmt: skip
    assert found["b"].message == (
        "spec.hostnames: two.example.com on listener x belongs to the older ServiceMapping "
        "shop/a; choose another host, or delete that mapping"
    )
    assert "any host on listener x belongs to the older ServiceMapping shop/c" in found["d"].message


def test_certificates_for_the_same_names_go_together_when_their_keys_are_of_different_types():
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    names = ("a.example.com", "b.example.com")
    found = certificates(one=names, again=names, other=("a.example.com",))
    found["two"] = parse_tls_secret(tls_secret("two", issued(*names, key=rsa_key)))
    refs = ("one", "again", "two", "other", "missing")
    made = plan(
        https(*refs), mapping(listener="x", hostnames=["b.example.com"]), certificates=found
    )
    groups = {(slot.id, len(slot.files)) for slot in made.configuration.certificates}
    assert groups == {
        (certificate_id(["one", "two"]), 2),
        (certificate_id(["again"]), 1),
        (certificate_id(["other"]), 1),
        (certificate_id(["missing"]), 0),
    }
    assert shown(made) == {"b.example.com": certificate_id(["one", "two"])}
    [listener] = made.configuration.listeners
    assert listener.tls.certificate == certificate_id(["one", "two"])
    bundle = render(configuration=made.configuration, layout=Layout())
    text = bundle.files[f"certificate-{certificate_id(['one', 'two'])}.conf"]
    assert text.count("ssl_certificate ") == text.count("ssl_certificate_key ") == 2


def test_a_tls_listener_has_no_paths():
    [found] = conditions(plan(PASSTHROUGH, mapping(listener="x", path={"value": "/a"}))).values()
    assert found.reason == "UnsupportedValue"
    assert "spec.path: /a: listener x speaks TLS" in found.message


@pytest.mark.parametrize("listener", [PASSTHROUGH, https("a")], ids=["TLS", "HTTPS"])
def test_the_policys_host_names_count_for_tls_too(listener):
    policy = parse_policy(
        "mappings: [{namespaces: [shop], hostnames: [shop.example.com], services: ['*']}]"
    )
    found = conditions(
        plan(
            listener,
            mapping("good", listener="x", hostnames=["shop.example.com"]),
            mapping("bad", listener="x", hostnames=["bank.example.com"]),
            mapping("all", listener="x"),
            permissions=Permissions(policy=policy),
        )
    )
    assert {name: item.reason for name, item in found.items()} == {
        "good": "Accepted", "bad": "NotPermitted", "all": "NotPermitted",
    }  # fmt: skip


def test_a_name_gets_the_first_certificate_that_names_it_then_a_wildcard_then_the_first():
    found = plan(
        https("a", "b", "c"),
        mapping(
            listener="x", hostnames=["one.example.com", "two.example.com", "three.example.net"]
        ),
        certificates=certificates(
            a=["first.example.com"], b=["*.example.com"], c=["two.example.com"]
        ),
    )
    assert shown(found) == {
        "*.example.com": certificate_id(["b"]),
        "one.example.com": certificate_id(["b"]),
        "two.example.com": certificate_id(["c"]),
        "three.example.net": certificate_id(["a"]),
    }


def test_a_name_that_only_a_certificate_has_goes_where_nginx_would_have_sent_it():
    found = plan(
        https("a", "b"),
        mapping("all", listener="x"),
        mapping("wild", listener="x", hostnames=["*.example.com"], path={"value": "/wild"}),
        certificates=certificates(
            a=["first.example.com"], b=["b.example.com", "*.c.example.com", "example.net"]
        ),
    )
    [listener] = found.configuration.listeners
    routes = {host.hostname: [str(item.path) for item in host.routes] for host in listener.hosts}
    assert routes == {
        None: ["/"],
        "*.example.com": ["/wild"],
        "b.example.com": ["/wild"],
        "*.c.example.com": ["/wild"],
        "example.net": ["/"],
    }


@pytest.mark.parametrize(
    "name",
    ["a.example.com; } evil {", "a b", "$host", "a\nb.example.com", "*", "*.*.example.com", "_x.a",
     "a" * 300, "xn--" + "a" * 70, "[::1]", "", ".",
     "a." * 600 + "example.com"],
)  # fmt: skip
def test_whatever_names_a_certificate_has_nothing_of_it_reaches_nginx(name):
    hostile = certificates(a=["first.example.com"], b=[name, "good.example.com"])
    found = plan(https("a", "b"), mapping(listener="x"), certificates=hostile)
    assert set(shown(found)) == {None, "good.example.com"}
    assert all(verdict.accepted.is_true for _, verdict in found.mappings)
    render(configuration=found.configuration, layout=Layout())


def test_a_rotated_certificate_changes_one_file_of_the_bundle():
    def bundle():
        made = certificates(a=["first.example.com"])
        found = plan(https("a"), mapping(listener="x"), certificates=made)
        return render(configuration=found.configuration, layout=Layout())

    one, two = bundle(), bundle()
    changed = {name for name in one.files if one.files[name] != two.files[name]}
    assert changed == {f"certificate-{certificate_id(['a'])}.conf", "hash.conf"}
    assert [item.secret for item in one.secrets] == ["a"]
    assert one.secrets != two.secrets


def test_without_a_certificate_only_the_file_that_is_included_says_so():
    found = plan(https("a"), mapping(listener="x"))
    bundle = render(configuration=found.configuration, layout=Layout())
    assert bundle.files[f"certificate-{certificate_id(['a'])}.conf"] == NO_CERTIFICATE
    assert bundle.secrets == ()


def test_http_2_comes_with_https_unless_it_is_turned_off():
    def http2(listener):
        [found] = plan(listener, mapping(listener="x")).configuration.listeners
        return found.http2

    assert http2(https("a"))
    assert not http2(https("a", http2=False))
    assert not http2({"name": "x", "port": 80})
    assert http2({"name": "x", "port": 80, "http2": True})
