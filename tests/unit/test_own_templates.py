"""A user's own template: what it can say, what it waits for, and what nobody can do with it."""

from __future__ import annotations

import tempfile

import crossplane
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consul_nginx.model.facts import (
    DatacentersQuery,
    InstancesQuery,
    KeyQuery,
    NodesQuery,
    ServicesQuery,
    TreeQuery,
)
from consul_nginx.nginx.own.environment import environment
from consul_nginx.nginx.own.filters import FILTERS
from consul_nginx.nginx.own.functions import Functions
from consul_nginx.nginx.own.outcome import Failure, Outcome
from consul_nginx.nginx.own.rendering import MAX_SOURCE_BYTES, MAX_TEXT_BYTES
from consul_nginx.nginx.own.wire import (
    decode_outcome,
    decode_request,
    encode_outcome,
    encode_request,
)
from unit.own_templates import entry, key, rendered, service, tree

UPSTREAM = """upstream web {
{% for s in service("web") %}
    server {{ s.Address | nginx_host }}:{{ s.Port }} weight={{ s.Weight }};
{% endfor %}
}
"""


def text(*arguments, **named):
    outcome = rendered(*arguments, **named)
    assert outcome.failure is None, outcome.failure
    return outcome.text


def failure(*arguments, **named):
    outcome = rendered(*arguments, **named)
    assert outcome.text is None
    assert outcome.failure is not None
    return outcome.failure


def test_instances_become_lines():
    answer = service("web", entry(), entry("2001:db8::7", 80, Weight=3))
    assert text(UPSTREAM, answer) == (
        "upstream web {\n"
        "    server 10.244.1.5:8080 weight=1;\n"
        "    server [2001:db8::7]:80 weight=3;\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("call", "query"),
    [
        ('service("web")', InstancesQuery(service="web")),
        ('service("v2.web")', InstancesQuery(service="web", tags=("v2",))),
        ('service("web@dc2")', InstancesQuery(service="web", datacenter="dc2")),
        ('service("v.web@d|any")', InstancesQuery(service="web", tags=("v",), datacenter="d")),
        ('service(name="a.b", tags=["v", "w"])', InstancesQuery(service="a.b", tags=("v", "w"))),
        ("services()", ServicesQuery()),
        ('services("@dc2")', ServicesQuery(datacenter="dc2")),
        ('nodes("@dc2")', NodesQuery(datacenter="dc2")),
        ("datacenters()", DatacentersQuery()),
        ('key("a/b")', KeyQuery(key="a/b")),
        ('key("/a/b@dc2")', KeyQuery(key="a/b", datacenter="dc2")),
        ('key_exists("a")', KeyQuery(key="a")),
        ('key_or_default("a", 1)', KeyQuery(key="a")),
        ('ls("a/b")', TreeQuery(prefix="a/b/")),
        ('tree("a/b/@dc2")', TreeQuery(prefix="a/b/", datacenter="dc2")),
        ('safe_tree("")', TreeQuery(prefix="")),
        ('safe_ls("a")', TreeQuery(prefix="a/")),
    ],
)  # fmt: skip
def test_what_a_call_asks_and_that_it_waits_for_the_answer(call, query):
    outcome = rendered(f"{{% set x = {call} %}}done")
    assert outcome == Outcome(asked=frozenset({query}), unanswered=frozenset({query}))
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_every_function_and_every_filter_stands_in_the_page(repository):
    page = (repository / "docs" / "own-templates.md").read_text(encoding="utf-8")
    for name in (*Functions(answers={}, prefixes=None).named(), *FILTERS):
        assert f"`{name}" in page, name


def test_what_is_asked_with_the_answers_of_what_was_asked_before_is_found_step_by_step():
    source = (
        "{% for s in services() %}{% for i in service(s.Name) %}"
        "{{ i.Port }} {% endfor %}{% endfor %}"
    )
    names = {ServicesQuery(): [{"Name": "web", "Tags": []}]}
    web = InstancesQuery(service="web")
    assert rendered(source).unanswered == {ServicesQuery()}
    second = rendered(source, names)
    assert (second.text, second.unanswered) == (None, {web})
    assert second.asked == {ServicesQuery(), web}
    assert text(source, names, service("web", entry())) == "8080 "


def test_a_failure_that_missing_answers_may_have_caused_is_none_yet():
    source = '{{ 100 // (key("a") | int) }}'
    assert rendered(source) == Outcome(
        asked=frozenset({KeyQuery(key="a")}), unanswered=frozenset({KeyQuery(key="a")})
    )
    assert text(source, key("a", "4")) == "25"
    assert failure(source, key("a", "0")).line == 1


def test_a_key_is_waited_for_and_a_default_is_not():
    assert rendered('{{ key("a") }}', key("a")).absent == {KeyQuery(key="a")}
    assert text('{{ key("a") }}', key("a", "")) == ""
    assert text('{{ key_or_default("a", "x") }}', key("a")) == "x"
    assert text('{{ key_or_default("a", "x") }}', key("a", "")) == ""
    assert text('{{ "on" if key_exists("a") else "off" }}', key("a")) == "off"


def test_folders_are_folders_and_their_keys_are_relative():
    answer = tree("shop/", **{"": "", "a": "1", "b/c": "2", "b/": ""})
    loop = "{%% for p in %s %%}{{ p.Key }}={{ p.Value }} {{ p.Path }},{%% endfor %%}"
    assert text(loop % 'ls("shop")', answer) == "a=1 shop/a,"
    assert text(loop % 'tree("shop")', answer) == "a=1 shop/a,b/c=2 shop/b/c,"
    assert rendered(loop % 'safe_ls("shop")', tree("shop/")).absent == {TreeQuery(prefix="shop/")}
    assert rendered(loop % 'safe_tree("shop")', tree("shop/")).absent == {TreeQuery(prefix="shop/")}


def test_health_is_passing_unless_another_is_asked_for():
    answer = service(
        "web", entry(port=1), entry(port=2, Status="warning"), entry(port=3, Status="critical")
    )
    ports = '{%% for s in service("web%s") %%}{{ s.Port }}{%% endfor %%}'
    assert text(ports % "", answer) == "1"
    assert text(ports % "|passing,warning", answer) == "12"
    assert text(ports % "|any", answer) == "123"


def test_only_folders_that_the_policy_allows_are_read():
    for call in ('key("vault/x")', 'ls("")', 'tree("shops")', 'key_exists("shopping")'):
        found = failure(f"\n{{{{ {call} }}}}", prefixes=("shop/",))
        assert found.line == 2
        assert "it allows what begins with: shop/ (chart: policy.templates)" in found.message
    assert "begins with: none" in failure('{{ key("a") }}', prefixes=()).message
    assert rendered('{{ ls("shop") }}{{ key("shop/a") }}', prefixes=("shop/",)).failure is None


@pytest.mark.parametrize(
    "call",
    [
        'key("../vault/x")', 'key("shop/../vault")', 'key("")', 'key("shop/")', 'key("shop//a")',
        'key("a\\n")', 'key("a@dc1/../x")', "key(7)", "key(none)", 'tree("a/./b")', 'ls("..")',
        'service("")', 'service("web~_agent")', 'service("a.b.c")', 'service("../../kv/x")',
        'service("web@dc 1")', 'service("web|green")', 'service(name="a b")', "service(7)",
        'service("web", tags=["a\\n"])', 'service("web", tags=[7])', 'service("web?ns=x")',
        'nodes("dc2")', 'services("@a&b")', 'service("web", name="web")', "service()",
    ],
)  # fmt: skip
def test_what_a_function_can_not_take_is_told_with_the_line(call):
    found = failure(f"# one\n{{% set x = {call} %}}")
    assert found.line == 2
    assert found.message


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("one\n{% for %}", 2, "Expected an expression"),
        ("\n{% if 1 %}", 2, "Unexpected end of template"),
        ("\n\n{{ nothing }}", 3, "'nothing' is undefined"),
        ('\n{{ service("web")[0].Adress }}', 2, "has no attribute 'Adress'"),
        ("{{ ''.__class__ }}", 1, "unsafe"),
        ("{% set x = [] %}\n{% set y = x.append(1) %}", 2, "'append' of 'list' object is unsafe"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", 1, "calls itself without end"),
        ("{{ range(10 ** 9) }}", 1, "Range too big"),
        ("\n{{ none }}", 2, "prints nothing"),
        ("\n{{ [1] }}", 2, "prints a list"),
        ("{{ true }}", 1, "prints a bool"),
        ("a\n# gr\u00fcn", 2, "write ASCII"),
        ("a\x00", 1, "write ASCII"),
        ("{% for i in range(99999) %}0123456789{% endfor %}", 0, f"more than {MAX_TEXT_BYTES:,}"),
        ("x" * (MAX_SOURCE_BYTES + 1), 0, f"more than {MAX_SOURCE_BYTES:,} bytes"),
        ("{{ [1, 2] | random }}", 1, "No filter named 'random'"),
        ("\n{% include 'x' %}", 2, "{% include %} is not offered"),
        ("\n{% filter upper %}{% endfilter %}", 2, "{% filter %} is not offered"),
        ("\n{% call x() %}{% endcall %}", 2, "{% call %} is not offered"),
        ("{{ lipsum() }}", 1, "'lipsum' is undefined"),
        ("{% for i in range(2000) %}{% set x = key('k' ~ i) %}{% endfor %}", 1, "more than 1000"),
    ],
)
def test_a_failure_names_the_line(source, line, words):
    found = failure(source, service("web", entry()))
    assert (found.line, words in found.message) == (line, True), found
    assert decode_outcome(encode_outcome(Outcome(failure=found))).failure == found


def test_lines_of_a_file_with_carriage_returns_are_counted_and_written_without():
    assert text("a\r\nb {{ 1 }}\r\n") == "a\nb 1\n"
    assert failure("a\r\n\r\n{{ x }}").line == 3


def test_text_of_strangers_is_printed_when_it_is_harmless_and_else_by_a_filter():
    evil = key("a", "x; } evil {")
    assert "add | nginx_quote, or | trusted" in failure('{{ key("a") }}', evil).message
    assert text('{{ key("a") | nginx_quote }}', evil) == '"x; } evil {"'
    assert text('{{ key("a") | trusted }}', evil) == "x; } evil {"
    assert text('{{ key("a") }}', key("a", "10.0.0.1:80")) == "10.0.0.1:80"
    assert text("{{ value | nginx_quote }}".replace("value", r"'a\"b\\c'")) == r'"a\"b\\c"'


@pytest.mark.parametrize("source", ["'$host' | nginx_quote", "'a\\nb' | nginx_quote",
    "'\u00fc' | nginx_quote", "'a b' | nginx_host", "'fe80::1%x' | nginx_host", "0 | port",
    "'8_0' | port", "'65536' | port", "'x' | parse_json", "'x' | parse_bool",
    "'x' | base64_decode", "('x' * 2000) | nginx_quote", "'x' * 2000"])  # fmt: skip
def test_what_a_filter_can_not_make_fit_is_a_failure(source):
    assert failure(f"{{{{ {source} }}}}".replace("\u00fc", "\\u00fc")).line == 1


def test_helpers_that_replace_those_of_consul_template():
    parsed = """{% set found = key("a") | parse_json %}{{ found.a[0] }}"""
    assert text(parsed, key("a", '{"a": [1]}')) == "1"
    assert text("{{ 'YQ==' | base64_decode }} {{ 'a,b' | split(',') | join('/') }}") == "a a/b"
    assert text("{{ 1 if 'web-1' | regex_match('^web-') else 0 }}") == "1"
    assert text("{{ 'web-1' | regex_replace('-([0-9])', '.\\\\1') }}") == "web.1"
    assert text("{{ 1 if 'true' | parse_bool else 0 }}{{ 1 if '0' | parse_bool else 0 }}") == "10"
    assert len(text("{{ 'a' | sha256_hex }}")) == 64
    tagged = service("web", entry(port=1, Tags=["b", "a"]), entry(port=2, Tags=["b"]))
    assert (
        text(
            "{% for t, all in service('web') | by_tag %}{{ t }}{{ all | length }}{% endfor %}",
            tagged,
        )
        == "a1b2"
    )


TABLE = [
    ('service("web") | groupby("ServiceMeta.env", default="") | map("first") | join(",")', ",prod"),
    ('service("web") | selectattr("Node", "eq", "node-1") | map(attribute="Port") | first', "8080"),
    ('1 if "v2" in service("web")[0].Tags else 0', "1"),
    ('"7" | int + 1', "8"),
    ('"a.b" | replace(".", "_")', "a_b"),
    ("[3, 2] | min", "2"),
    ('"%03d" | format(7)', "007"),
    ('"Ab" | lower ~ "Ab" | upper', "abAB"),
    ('tree("shop") | map(attribute="Key") | map("replace", "/", ".") | join(",")', "a,b.c"),
    ('"a/b".split("/") | last', "b"),
    ("range(3) | join", "012"),
]


@pytest.mark.parametrize(("expression", "printed"), TABLE)
def test_what_the_page_offers_in_place_of_a_function_works(expression, printed):
    instances = entry(Tags=["v2"]), entry("10.244.1.6", ServiceMeta={"env": "prod"})
    answers = service("web", *instances), tree("shop/", **{"a": "1", "b/c": "2"})
    assert text(f"{{{{ {expression} }}}}", *answers) == printed


def test_values_are_collected_in_a_namespace_and_printed_by_a_macro():
    source = (
        "{% set found = namespace(ports=[]) %}"
        '{% for s in service("web") %}{% set found.ports = found.ports + [s.Port] %}{% endfor %}'
        "{% macro listed(ports) %}{% for p in ports %}{{ p }}; {% endfor %}{% endmacro %}"
        "{{ listed(found.ports) | trusted }}"
    )
    assert text(source, service("web", entry(), entry(port=81))) == "8080; 81; "


def test_a_request_arrives_as_it_was_sent():
    answers = {**service("web", entry(), tags=("a",)), **key("k", "v"), **tree("t/", a="b")}
    for prefixes in (None, (), ("a/",)):
        sent = encode_request(source="x", answers=answers, prefixes=prefixes)
        assert sent.count(b"\n") == 1
        assert decode_request(sent) == ("x", answers, prefixes)


PRINTED = """server {
    listen 8080;
    server_name {{ key("a") }} {{ service("web")[0].Tags[0] }};
    set $x {{ (key("a") ~ "-" ~ service("web")[0].Node) }};
    return 200 {{ key("a") | nginx_quote }};
    # {{ service("web")[0].ServiceMeta.owner }}
    location /{{ key("a") }} { proxy_pass http://{{ service("web")[0].Address }}; }
}
"""

HOSTILE = st.text(alphabet=st.sampled_from("ab;{}#$\"'\\ \n\t\r%/.-=@~\u00e9\x00"), max_size=12)


@settings(max_examples=1000)
@given(value=HOSTILE, tag=HOSTILE, node=HOSTILE, meta=HOSTILE, address=HOSTILE)
def test_nothing_that_consul_says_becomes_a_directive(value, tag, node, meta, address):
    """Either the template fails, or an independent parser sees the directives of the harmless."""
    hostile = entry(address, Tags=[tag], Node=node, ServiceMeta={"owner": meta})
    outcome = rendered(PRINTED, key("a", value), service("web", hostile))
    if outcome.text is not None:
        harmless = entry("a", Tags=["a"], ServiceMeta={"owner": "a"})
        wanted = text(PRINTED, key("a", "a"), service("web", harmless))
        assert directives(outcome.text) == directives(wanted)
    else:
        assert isinstance(outcome.failure, Failure)


def directives(configuration):
    """Names of the directives, and how deep they are."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"http {{\n{configuration}\n}}\n")
        file.flush()
        parsed = crossplane.parse(file.name, strict=False, check_args=False, check_ctx=False)
    assert parsed["status"] == "ok", parsed
    found = []

    def walk(block, depth):
        for one in block:
            found.append((depth, one["directive"]))
            walk(one.get("block", ()), depth + 1)

    walk(parsed["config"][0]["parsed"], 0)
    return found


FRAGMENTS = st.sampled_from([
    "{{", "}}", "{%", "%}", "{#", "#}", " for ", " in ", "if ", "endif", "endfor", "set x = ",
    "service('web')", "key('a')", "range(9)", "x", ".", "|", "(", ")", "[0]", "'a'", "1", "~",
    "* 9", "**", "/ 0", "__class__", "format", "join", "trusted", "macro m()", "endmacro", "\n",
    "nginx_quote", "attr('x')", "map", "not ", "{", ";", "break", "continue", "namespace()",
])  # fmt: skip


@settings(max_examples=1000)
@given(parts=st.lists(FRAGMENTS, max_size=14))
def test_whatever_a_template_is_the_outcome_is_one(parts):
    """A failure has a place in the template, and what was asked is told."""
    outcome = rendered("".join(parts), key("a", "1"), service("web", entry()))
    assert (outcome.text is None) == (outcome.failure is not None)
    if outcome.failure is not None:
        assert 0 <= outcome.failure.line <= "".join(parts).count("\n") + 1
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_no_filter_depends_on_chance_or_on_time():
    assert not {"random", "urlize"} & environment().filters.keys()
    assert environment().globals.keys() == {"range", "namespace", "joiner", "dict"}
