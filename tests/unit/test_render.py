"""From the model to files: what stays the same, and what no input can do to them."""

from __future__ import annotations

import re

import crossplane
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.model.consul import Observation
from consul_nginx.model.layout import Layout
from consul_nginx.model.nginx import Layer
from consul_nginx.nginx import tokens
from consul_nginx.nginx.environment import _environment
from consul_nginx.nginx.render import render
from consul_nginx.nginx.tokens import UnsafeTokenError
from consul_nginx.plan.upstreams import upstream_id
from unit.factories import instance, load_balancer, mapping, planned


def rendered(*mappings, instances=None, previous=None, **spec):
    queries = {query for item in mappings for query in item.queries}
    snapshot = {query: Observation(instances=instances) for query in queries}
    plan = planned(load_balancer=load_balancer(**spec), mappings=mappings, snapshot=snapshot)
    return render(configuration=plan.configuration, layout=Layout(), previous=previous or {})


SHOP = mapping(hostnames=["shop.example"], path={"value": "/features"})
THREE = tuple(instance(f"10.244.{n}.5") for n in (1, 2, 3))


def test_equal_input_gives_equal_bytes_whatever_the_order():
    other = mapping("other", hostnames=["other.example"])
    one = rendered(SHOP, other, instances=THREE)
    two = rendered(other, SHOP, instances=tuple(reversed(THREE)))
    assert one == two


def test_a_changed_endpoint_changes_one_file_and_not_the_structure():
    before, after = rendered(SHOP, instances=THREE), rendered(SHOP, instances=THREE[:2])
    changed = {name for name in before.files if before.files[name] != after.files[name]}
    assert changed == {f"endpoints-{upstream_id(SHOP.group)}.conf", "hash.conf"}
    assert before.structure == after.structure
    assert before.hash != after.hash


def test_an_upstream_that_consul_has_not_answered_for_keeps_its_bytes():
    before = rendered(
        SHOP, instances=tuple(instance(f"10.0.{n // 250}.{n % 250 + 1}") for n in range(500))
    )
    assert rendered(SHOP, instances=None, previous=before.files) == before


def test_no_endpoint_means_503_and_not_a_broken_upstream():
    bundle = rendered(SHOP, instances=())
    text = bundle.files[f"endpoints-{upstream_id(SHOP.group)}.conf"]
    assert text == "server unix:/run/consul-nginx/nginx/unavailable.sock;\n"


def test_a_tcp_listener_without_endpoints_closes_connections_and_is_no_broken_upstream():
    listeners = [{"name": "thrift", "protocol": "TCP", "port": 25000}]
    thrift = mapping(listener="thrift")
    bundle = rendered(thrift, instances=(), listeners=listeners)
    text = bundle.files[f"endpoints-{upstream_id(thrift.group, Layer.STREAM)}.conf"]
    assert text == "server 127.0.0.1:1 down;\n"


def test_a_stream_block_is_there_only_when_a_mapping_needs_it():
    listeners = [{"name": "thrift", "protocol": "TCP", "port": 25000}]
    assert "stream {" not in rendered(listeners=listeners).files["nginx.conf"]


def test_an_ipv6_endpoint_is_in_brackets():
    bundle = rendered(SHOP, instances=(instance("2001:db8::0:1", weight=3),))
    text = bundle.files[f"endpoints-{upstream_id(SHOP.group)}.conf"]
    assert text == "server [2001:db8::1]:8080 max_fails=0 weight=3;\n"


def test_a_template_can_not_print_a_bare_string():
    with pytest.raises(UnsafeTokenError, match="bare str"):
        _environment().from_string("server_name {{ name }};").render(name="a; } evil {")


@pytest.mark.parametrize(
    "make",
    [
        tokens.hostname, tokens.path, tokens.identifier, tokens.file_name, tokens.server_name,
        tokens.header_name, tokens.word, tokens.size, tokens.network,
    ],
)  # fmt: skip
@given(text=st.text(alphabet=st.sampled_from("a.-/ ;{}\"'\\$#\n\r\t\0é~_0A%")))
def test_a_token_is_one_word_of_nginx_whatever_it_was_made_from(make, text):
    try:
        token = make(text)
    except UnsafeTokenError:
        return
    assert not set(str(token)) & set(" ;{}\"'\\$#\n\r\t\0")
    assert str(token)


@pytest.mark.parametrize(
    "make",
    [
        tokens.expression, tokens.equal_to, tokens.matched_by, tokens.expression_below,
        tokens.expression_for_path, tokens.listed,
    ],
)  # fmt: skip
@given(text=st.text(alphabet=st.sampled_from("ab/- ;{}\"'\\$#\n\r\t\0é~_0A%(|)*^")))
def test_an_expression_stays_in_its_quotes_whatever_it_was_made_from(make, text):
    for written in (text, f"/{text}"):
        try:
            token = make(written)
        except UnsafeTokenError:
            continue
        assert re.fullmatch(r'"(?:[ !#-\[\]-~]|\\["\\])*"', str(token), re.ASCII)


def test_the_bundle_parses_into_the_expected_tree(tmp_path):
    bundle = rendered(SHOP, instances=THREE)
    for name, text in bundle.files.items():
        (tmp_path / name).write_text(text)
    parsed = crossplane.parse(
        str(tmp_path / "nginx.conf"), combine=True, check_ctx=False, check_args=False
    )
    assert parsed["errors"] == []
    [http] = [d for d in parsed["config"][0]["parsed"] if d["directive"] == "http"]
    servers = [d for d in http["block"] if d["directive"] == "server"]
    names = [
        d["args"] for server in servers for d in server["block"] if d["directive"] == "server_name"
    ]
    assert names == [["_"], ["shop.example"]]
