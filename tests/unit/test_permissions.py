"""Who may map what."""

from __future__ import annotations

import pytest

from consul_nginx.model.consul import Observation
from consul_nginx.model.policy import Policy, Rule, matches
from consul_nginx.plan.acceptance import accept
from consul_nginx.plan.load_balancer import bound
from consul_nginx.plan.permissions import Permissions, consul_objection
from consul_nginx.resources.policy import PolicyError, parse_policy
from unit.factories import instance, load_balancer, mapping, planned

TCP = [{"name": "http", "port": 80}, {"name": "thrift", "protocol": "TCP", "port": 25000}]
BLOG = Rule(namespaces=("blog",), hostnames=("*.blog.example",), services=("blog-*",))


def verdict(*, permissions=None, edge=None, **spec):
    found = mapping(meta={"namespace": "blog"}, **spec)
    plan = planned(
        load_balancer=edge or load_balancer(allowedNamespaces={"from": "All"}, listeners=TCP),
        mappings=[found],
        snapshot={},
        permissions=permissions or Permissions(),
    )
    [(_, result)] = plan.mappings
    return result.accepted


def test_without_a_policy_everybody_may_map_everything():
    assert verdict().is_true


def test_mappings_of_another_namespace_are_not_taken_unless_the_load_balancer_says_so():
    found = verdict(edge=load_balancer())
    assert found.reason == "NotAllowedByLoadBalancer"
    assert "takes mappings of its own namespace only" in found.message


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"blog": {"team": "web", "x": "y"}}, "Accepted"),
        ({"blog": {"team": "ops"}}, "NotAllowedByLoadBalancer"),
        ({}, "NotAllowedByLoadBalancer"),
        (None, "NotAllowedByLoadBalancer"),
    ],
)
def test_namespaces_are_chosen_by_labels_and_unknown_is_no(labels, reason):
    selector = {"from": "Selector", "selector": {"matchLabels": {"team": "web"}}}
    found = verdict(
        edge=load_balancer(allowedNamespaces=selector),
        permissions=Permissions(namespace_labels=labels),
    )
    assert found.reason == reason


EVERY = {"from": "All"}
RED = {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}


@pytest.mark.parametrize(
    ("of_all", "of_one", "reason"),
    [
        (None, None, "NotAllowedByLoadBalancer"),
        (None, EVERY, "Accepted"),
        (None, {"from": "Selector", "selector": {"matchLabels": {"team": "web"}}}, "Accepted"),
        (EVERY, None, "Accepted"),
        (EVERY, {}, "NotAllowedByListener"),
        (EVERY, RED, "NotAllowedByListener"),
        # Whom the LoadBalancer does not know hears nothing of its listeners.
        (None, RED, "NotAllowedByLoadBalancer"),
        (RED, {}, "NotAllowedByLoadBalancer"),
        (RED, EVERY, "Accepted"),
    ],
)
def test_a_listener_says_in_the_load_balancers_place_whose_mappings_it_takes(
    of_all, of_one, reason
):
    own = {} if of_one is None else {"allowedNamespaces": of_one}
    edge = load_balancer(
        listeners=[{"name": "http", "port": 80, **own}, {"name": "other", "port": 81}],
        **({} if of_all is None else {"allowedNamespaces": of_all}),
    )
    permissions = Permissions(namespace_labels={"blog": {"team": "web"}})
    found = verdict(edge=edge, permissions=permissions)
    assert found.reason == reason
    if reason == "NotAllowedByListener":
        words = "metadata.namespace: blog: listener http of LoadBalancer shop/edge takes mappings"
        assert found.message.startswith(words)
    if reason == "NotAllowedByLoadBalancer":
        nowhere = verdict(edge=edge, permissions=permissions, listener="x")
        assert found == nowhere
    other = verdict(edge=edge, permissions=permissions, listener="other")
    assert other.is_true is (of_all == EVERY)


def test_labels_count_where_a_listener_chooses_by_them():
    one = {"name": "http", "port": 80}
    assert not load_balancer(listeners=[one]).chooses_by_labels
    assert load_balancer(listeners=[{**one, "allowedNamespaces": RED}]).chooses_by_labels
    assert load_balancer(allowedNamespaces=RED).chooses_by_labels


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"hostnames": ["a.blog.example"], "backends": [{"service": "blog-web"}]}, True),
        ({"hostnames": ["a.shop.example"], "backends": [{"service": "blog-web"}]}, False),
        ({"hostnames": ["a.blog.example"], "backends": [{"service": "shop-web"}]}, False),
        ({"hostnames": [], "backends": [{"service": "blog-web"}]}, False),
        ({"listener": "thrift", "backends": [{"service": "blog-web"}]}, False),
    ],
)
def test_a_policy_says_which_hosts_and_services_a_namespace_has(spec, allowed):
    permissions = Permissions(policy=Policy(rules=(BLOG,)))
    found = verdict(permissions=permissions, **spec)
    assert found.is_true is allowed
    if not allowed:
        assert found.reason == "NotPermitted"
        assert "it may map hosts *.blog.example with services blog-*" in found.message


def test_a_stranger_does_not_hear_which_listeners_there_are():
    assert verdict(edge=load_balancer(), listener="x").reason == "NotAllowedByLoadBalancer"


def test_consul_is_asked_for_what_is_accepted_only():
    mine, theirs = mapping("mine"), mapping("theirs", meta={"namespace": "blog"})
    given = {"load_balancer": load_balancer(), "mappings": [mine, theirs]}
    assert accept(**given).queries == set(mine.queries)
    seen = {theirs.queries[0]: Observation(instances=(instance(),))}
    verdicts = dict(planned(**given, snapshot=seen).mappings)
    assert verdicts[theirs].resolved.reason == "NotAccepted"
    assert verdicts[theirs].selection is None


def test_hosts_of_one_rule_do_not_go_with_services_of_another():
    other = Rule(namespaces=("blog",), hostnames=("x.example",), services=("x",))
    permissions = Permissions(policy=Policy(rules=(BLOG, other)))
    assert not verdict(
        permissions=permissions, hostnames=["x.example"], backends=[{"service": "blog-web"}]
    ).is_true


def test_what_was_accepted_before_is_not_served_on_once_it_is_forbidden():
    found = mapping(meta={"namespace": "blog"})
    plan = planned(
        load_balancer=load_balancer(allowedNamespaces={"from": "All"}),
        mappings=[found],
        snapshot={},
        remembered={found.meta.uid: found},
        permissions=Permissions(policy=Policy(rules=())),
    )
    assert plan.configuration.upstreams == ()


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("a.example", "a.example", True),
        ("a.example", "*.example", True),
        ("a.b.example", "*.example", True),
        ("example", "*.example", False),
        ("axexample", "a.example", False),
        ("a.example.evil", "*.example", False),
        ("anything", "*", True),
        ("a\n.example", "*.example", False),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_is_special(text, pattern, expected):
    assert matches(text, [pattern]) is expected


def test_an_address_of_ones_own_has_to_be_allowed():
    edge = load_balancer(consul={"address": "http://evil.example:8500"})
    found = consul_objection(load_balancer=edge, policy=Policy())
    assert found.reason == "ConsulAddressNotAllowed"
    assert "spec.consul.address: http://evil.example:8500" in found.message
    allowed = Policy(consul_addresses=frozenset({"http://evil.example:8500"}))
    assert consul_objection(load_balancer=edge, policy=allowed) is None


def test_a_mapping_asks_the_consul_and_datacenter_of_its_load_balancer():
    edge = load_balancer(
        consul={
            "address": "https://consul.example:8501",
            "datacenter": "dc2",
            "tokenSecretRef": {"name": "mine"},
        }
    )
    query = bound(mapping=mapping(), load_balancer=edge).queries[0]
    assert query.source.address == "https://consul.example:8501"
    assert query.source.token_secret == ("shop", "mine", "token")
    assert query.datacenter == "dc2"
    own = mapping(backends=[{"service": "x", "datacenter": "dc3"}])
    assert bound(mapping=own, load_balancer=edge).queries[0].datacenter == "dc3"


def test_a_policy_file_is_read():
    policy = parse_policy(
        """
        consulAddresses: ["http://other:8500/"]
        mappings:
          - {namespaces: [blog], hostnames: ["*.blog.example"], services: ["blog-*"]}
        """
    )
    assert policy == Policy(consul_addresses=frozenset({"http://other:8500"}), rules=(BLOG,))
    assert parse_policy("") == Policy()
    assert parse_policy("mappings: []").rules == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mappings: [{namespaces: []}]", "mappings[0].namespaces"),
        ("mappings: [{namespaces: [a], hosts: [b]}]", "mappings[0].hosts"),
        ("consulAddresses: [consul]", "consulAddresses[0]: 'consul'"),
        ("consulAddresses: ['http://a:99999']", "Port out of range"),
        ("{", "not YAML"),
    ],
)
def test_a_policy_that_can_not_be_used_is_refused_with_the_field(text, words):
    with pytest.raises(PolicyError) as error:
        parse_policy(text)
    assert words in str(error.value)
