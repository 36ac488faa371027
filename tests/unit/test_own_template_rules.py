"""Where a LoadBalancer's own templates are used, who may have them, and what is told of them."""

from __future__ import annotations

import pytest

from consul_nginx.kube.templates import TemplateNotFoundError, TemplateStore, template_in
from consul_nginx.model.consul import ConsulSource, Health, Observation
from consul_nginx.model.facts import (
    DatacentersQuery,
    Entry,
    Fact,
    InstancesQuery,
    KeyQuery,
    NamedService,
    Node,
    NodesQuery,
    Pair,
    TreeQuery,
)
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.nginx import Layer
from consul_nginx.model.policy import Policy, TemplateRule
from consul_nginx.model.template import OwnText, TemplateProblem
from consul_nginx.nginx.own.choice import chosen
from consul_nginx.nginx.render import own_file, render
from consul_nginx.plan.own_templates import answer, bound_question, conditions, uses, waiting
from consul_nginx.plan.permissions import readable_prefixes, template_objection
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.policy import PolicyError, parse_policy
from unit.factories import instance, load_balancer, load_balancer_raw, mapping, planned

OWN = {"configMapRef": {"name": "mine"}}
TWO = [{"name": "http", "port": 80, "template": OWN}, {"name": "more", "port": 81}]
LISTENERS = [*TWO, {"name": "thrift", "port": 25000, "protocol": "TCP"}]
SHOPS = Policy(
    templates=(
        TemplateRule(namespaces=("shop*",), kv_prefixes=("shop/",)),
        TemplateRule(namespaces=("shop",), kv_prefixes=("all/", "shop/")),
    )
)


def balancer(**spec):
    return load_balancer(**{"listeners": LISTENERS, **spec})


def test_uses_name_their_field_and_have_names_of_their_own():
    found = uses(balancer(template=OWN, streamTemplate={"configMapRef": {"name": "s", "key": "k"}}))
    assert [(use.field, use.layer, use.source.name, use.source.key) for use in found] == [
        ("spec.template", Layer.HTTP, "mine", "template.conf.j2"),
        ("spec.streamTemplate", Layer.STREAM, "s", "k"),
        ("spec.listeners[0].template", Layer.HTTP, "mine", "template.conf.j2"),
    ]
    assert len({use.id for use in found}) == 3


def own(load_balancer, text="server { listen 80; }\n", problem=None):
    return tuple(OwnText(use=use, text=text, problem=problem) for use in uses(load_balancer))


@pytest.mark.parametrize(
    ("spec", "rejected"),
    [
        ({}, {"http"}),
        ({"template": OWN}, {"http", "more"}),
        ({"streamTemplate": OWN}, {"http", "thrift"}),
        ({"template": OWN, "streamTemplate": OWN, "listeners": LISTENERS[1:]}, {"more", "thrift"}),
    ],
)
def test_a_template_takes_the_place_of_mappings_on_its_listeners_and_no_others(spec, rejected):
    edge = balancer(**spec)
    names = [listener.name for listener in edge.listeners]
    plan = planned(
        load_balancer=edge,
        mappings=[mapping(name, listener=name) for name in names],
        snapshot={},
        own=own(edge),
    )
    verdicts = {item.listener: verdict.accepted for item, verdict in plan.mappings}
    assert {name for name, found in verdicts.items() if not found.is_true} == rejected
    assert {verdicts[name].reason for name in rejected} == {"ListenerHasTemplate"}
    shown = verdicts[min(rejected)].message
    assert "own template" in shown
    assert "name another listener" in shown
    files = render(configuration=plan.configuration, layout=Layout()).files
    for use in uses(edge):
        assert files[own_file(use.id)] == "server { listen 80; }\n"
        assert f"include {own_file(use.id)};" in files["nginx.conf"]
    served = {one.id for one in (*plan.configuration.listeners, *plan.configuration.streams)}
    assert len(served) == len(names) - len(rejected)


def test_a_template_without_a_text_keeps_what_nginx_has_of_it():
    edge = balancer()
    [waits] = own(edge, text=None, problem=TemplateProblem(reason="TemplateFailed", message="x"))
    file = own_file(waits.use.id)
    plan = planned(load_balancer=edge, mappings=[], snapshot={}, own=(waits,))
    files = render(
        configuration=plan.configuration, layout=Layout(), previous={file: "server {}\n"}
    ).files
    assert files[file] == "server {}\n"


def test_a_template_that_never_had_a_text_leaves_its_listener_to_mappings():
    edge = balancer()
    [failed] = own(edge, text=None, problem=TemplateProblem(reason="TemplateFailed", message="x"))
    file = own_file(failed.use.id)
    never = chosen(own=[failed], written=(), refused={}, proven=())
    assert (never.in_force, never.problems) == ((), (failed,))
    before = chosen(own=[failed], written={file}, refused={}, proven={file})
    assert (before.in_force, before.problems) == ((failed,), (failed,))


FELL_BACK = "nginx: unknown directive; without it, what nginx ran before is served on"


def test_what_nginx_refuses_at_first_leaves_the_listener_to_mappings_too():
    edge = balancer()
    [one] = own(edge, text="nonsense;\n")
    file = own_file(one.use.id)
    refused = {file: {"nonsense;\n": "nginx: unknown directive"}}
    first = chosen(own=[one], written={file}, refused=refused, proven=())
    assert (first.in_force, first.refused) == ((), {"http": FELL_BACK})
    later = chosen(own=[one], written={file}, refused=refused, proven={file})
    assert (later.in_force, later.refused) == ((one,), {})
    [edited] = own(edge, text="server { listen 80; }\n")
    assert chosen(own=[edited], written={file}, refused=refused, proven=()).in_force == (edited,)


def test_only_whom_the_policy_names_may_have_templates():
    edge = balancer()
    assert template_objection(load_balancer=edge, policy=SHOPS) is None
    assert template_objection(load_balancer=load_balancer(), policy=Policy()) is None
    found = template_objection(load_balancer=edge, policy=Policy())
    assert found is not None
    assert (found.reason, found.is_true) == ("TemplateNotAllowed", False)
    for words in ("spec.listeners[0].template", "mine", "namespace shop", "policy.templates"):
        assert words in found.message


def test_keys_that_may_be_read_are_those_of_all_rules_of_the_namespace():
    edge = balancer()
    assert readable_prefixes(load_balancer=edge, policy=SHOPS) == ("all/", "shop/")
    assert readable_prefixes(load_balancer=edge, policy=Policy()) == ()
    theirs = balancer(consul={"address": "http://consul.shop:8500"})
    assert readable_prefixes(load_balancer=theirs, policy=Policy()) is None


def test_the_policy_file_names_folders():
    rules = parse_policy("templates: [{namespaces: [a], kvPrefixes: [/, shop/, a/b/]}]").templates
    assert rules == (TemplateRule(namespaces=("a",), kv_prefixes=("", "shop/", "a/b/")),)
    for prefix in ("shop", "/shop/", "", "a b/", "a//", "a@b/"):
        with pytest.raises(PolicyError, match="kvPrefixes"):
            parse_policy(f"templates: [{{namespaces: [a], kvPrefixes: ['{prefix}']}}]")
    with pytest.raises(PolicyError, match="namespaces"):
        parse_policy("templates: [{kvPrefixes: [shop/]}]")


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        ({"template": {"configMapRef": {"name": "A b"}}}, "configMapRef.name"),
        ({"template": {"configMapRef": {"name": "a", "key": "../x"}}}, "configMapRef.key"),
        ({"template": {}}, "configMapRef"),
        ({"template": "{{ x }}"}, "template"),
        ({"template": OWN, "http2": True}, "belong into it"),
        (
            {"template": OWN, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "web"}]}},
            "tls is for listeners that mappings use",
        ),
        (
            {"template": OWN, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
            "tls is for listeners that mappings use",
        ),
        ({"template": OWN, "accessLog": {"format": "none"}}, "belong into it"),
        ({"template": OWN, "realIp": {"trustedSources": ["10.0.0.0/8"]}}, "belong into it"),
    ],
)
def test_what_a_listener_can_not_say_of_its_template(listener, words):
    listeners = [{"name": "http", "port": 80, **listener}]
    found = parse_load_balancer(load_balancer_raw(listeners=listeners))
    assert isinstance(found, Invalid)
    assert words in "; ".join(map(str, found.problems))


def test_questions_go_to_the_consul_and_the_datacenter_of_the_load_balancer():
    edge = balancer(consul={"address": "http://c:8500", "datacenter": "dc2"})
    source = ConsulSource(address="http://c:8500")
    for asked, bound in (
        (KeyQuery(key="a"), KeyQuery(key="a", datacenter="dc2", source=source)),
        (
            KeyQuery(key="a", datacenter="dc3"),
            KeyQuery(key="a", datacenter="dc3", source=source),
        ),
        (DatacentersQuery(), DatacentersQuery(source=source)),
    ):
        assert bound_question(asked, load_balancer=edge) == bound


NODE = Node(name="node-1", address="192.0.2.1", meta=(("rack", "a"),))


def an_entry(address="10.244.1.5", port=80, weight=1):
    return Entry(
        node=NODE, id="web-1", name="web", address=address, port=port, tags=("b", "a"),
        meta=(("owner", "x"),), health=Health.WARNING, weight=weight,
    )  # fmt: skip


def test_an_instance_is_seen_with_consul_templates_names():
    assert answer((an_entry(weight=0),)) == [
        {
            "ID": "web-1", "Name": "web", "Address": "10.244.1.5", "Port": 80, "Tags": ["b", "a"],
            "ServiceMeta": {"owner": "x"}, "Node": "node-1", "NodeAddress": "192.0.2.1",
            "NodeMeta": {"rack": "a"}, "Status": "warning", "Weight": 1,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        an_entry("10.0.0.1; } evil {"), an_entry("localhost"), an_entry("127.0.0.1"),
        an_entry("fe80::1%eth0"), an_entry(""), an_entry(port=0), an_entry(port=65536),
    ],
)  # fmt: skip
def test_an_instance_that_nginx_can_not_be_told_is_left_out(bad):
    assert len(answer((bad, an_entry()))) == 1


def test_other_answers_are_seen_as_they_are():
    assert answer((Pair(key="a", value="b"),)) == [{"Key": "a", "Value": "b"}]
    assert answer((NamedService(name="web", tags=("a",)),)) == [{"Name": "web", "Tags": ["a"]}]
    assert answer((NODE,)) == [{"Node": "node-1", "Address": "192.0.2.1", "Meta": {"rack": "a"}}]
    assert answer(("dc1",)) == ["dc1"]


def test_what_a_template_waits_for_is_told_and_why():
    refused = KeyQuery(key="a")
    found = waiting(
        unanswered=[refused, NodesQuery(), InstancesQuery(service="web", tags=("v2",))],
        absent=[TreeQuery(prefix="b/"), KeyQuery(key="c", datacenter="dc2")],
        facts={refused: Fact(error="HTTP 403")},
    )
    assert found.reason == "TemplatePending"
    assert found.message == (
        "it waits: Consul has not answered for service web tags v2 yet; Consul does not answer for "
        "key a: HTTP 403; Consul has not answered for all nodes yet and 2 more"
    )
    absent = waiting(unanswered=(), absent=[KeyQuery(key="c", datacenter="dc2")]).message
    assert absent == "it waits: Consul has no key c@dc2"


def test_the_condition_names_field_config_map_key_and_reason():
    problem = TemplateProblem(reason="TemplateFailed", message="line 3: no")
    [found] = conditions(own(balancer(), text=None, problem=problem), namespace="shop")
    assert (found.type, found.status, found.reason) == ("ResolvedRefs", "False", "TemplateFailed")
    assert found.message == (
        "spec.listeners[0].template: ConfigMap shop/mine, key template.conf.j2: line 3: no"
    )
    assert conditions(own(balancer()), namespace="shop") == ()


def config_map(**more):
    labels = {"consul-nginx.dev/template": "true"}
    return {"metadata": {"labels": labels}, "data": {"a": "text"}, **more}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, "no such ConfigMap"),
        (config_map(metadata={}), 'lacks the label consul-nginx.dev/template: "true"'),
        (config_map(metadata={"labels": {"consul-nginx.dev/template": "no"}}), "lacks the label"),
        (config_map(data={"b": "x", "c": "y"}), "no such key in it; it has: b, c"),
        (config_map(data=None), "it has: none"),
        (config_map(data={"a": 7}), "not a text"),
    ],
)
def test_a_config_map_that_is_no_template_says_what_is_missing(raw, words):
    with pytest.raises(TemplateNotFoundError, match=words):
        template_in(raw, key="a")
    assert template_in(config_map(), key="a") == "text"


def test_upstreams_of_mappings_and_templates_are_beside_each_other():
    edge = balancer()
    shop = mapping(listener="more")
    plan = planned(
        load_balancer=edge,
        mappings=[shop],
        snapshot={query: Observation(instances=(instance(),)) for query in shop.queries},
        own=own(edge),
    )
    main = render(configuration=plan.configuration, layout=Layout()).files["nginx.conf"]
    names = [line.split()[1].rstrip(";") for line in main.splitlines() if "    include " in line]
    assert [name.split("-")[0] for name in names if name != "hash.conf"] == [
        "upstreams.conf", "listener", "listener",
    ]  # fmt: skip


async def test_a_change_while_a_config_map_is_read_has_it_read_again():
    """What was on its way is older than the event that came meanwhile."""

    class Api:
        async def get(self, kind, ref):
            if texts == ["old", "new"]:
                store.forget(ref)
            return config_map(data={"a": texts.pop(0)})

    texts = ["old", "new"]
    store = TemplateStore(kube=Api())
    ref = ObjectRef(namespace="shop", name="mine")
    assert [await store.read(ref, "a") for _ in range(3)] == ["old", "new", "new"]
