"""``consul-nginx lint`` and ``render`` with templates, without a cluster or Consul."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from consul_nginx.cli import main
from unit.manifests import SNAPSHOT, balancer, mapping


def own_template(text, *, label="true"):
    config_map = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"template.conf.j2": text},
        "metadata": {
            "name": "mine", "namespace": "shop", "labels": {"consul-nginx.dev/template": label}
        },
    }  # fmt: skip
    template = {"configMapRef": {"name": "mine"}}
    listeners = [{"name": "http", "port": 80, "template": template}]
    return [balancer(listeners=listeners), config_map]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("{{ key('shop/a') }}{% for s in service('web') %}{% endfor %}", "Accepted", "in use"),
        ("\n{% for %}", "TemplateFailed", "ConfigMap shop/mine, key template.conf.j2: line 2: "),
        ("{{ key('vault/a') }}", "TemplateFailed", "policy.templates"),
        ("{{ 'x' * 10 ** 9 }}", "TemplateFailed", "memory"),
    ],
)
def test_a_template_is_judged_as_far_as_it_can_be_without_consul(text, reason, words, tmp_path):
    (tmp_path / "policy.yaml").write_text("templates: [{namespaces: [shop], kvPrefixes: [shop/]}]")
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all([*own_template(text), mapping()]))
    files = ["-f", str(tmp_path / "shop.yaml")]
    done = CliRunner().invoke(
        main, ["lint", *files, "-o", "json", "--policy-file", str(tmp_path / "policy.yaml")]
    )
    edge, web = json.loads(done.stdout)
    assert (edge["reason"], words in edge["message"], done.stderr) == (reason, True, "")
    assert web["reason"] == ("ListenerHasTemplate" if reason == "Accepted" else "Accepted")
    assert done.exit_code == 2
    done = CliRunner().invoke(main, ["lint", *files, "-o", "json"])
    assert json.loads(done.stdout)[0]["reason"] == "TemplateNotAllowed"


def test_a_config_map_that_is_no_template_is_named_with_what_it_lacks(tmp_path):
    (tmp_path / "policy.yaml").write_text("templates: [{namespaces: ['*']}]")
    policy = ["--policy-file", str(tmp_path / "policy.yaml")]
    for objects, words in (
        (own_template("x", label="no"), "lacks the label"),
        (own_template("x")[:1], "there is no such ConfigMap"),
        (own_template(7), "not a text"),
    ):
        (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(objects))
        done = CliRunner().invoke(main, ["lint", "-f", str(tmp_path / "shop.yaml"), *policy])
        assert done.exit_code == 2
        assert "TemplateNotFound" in done.stdout
        assert words in done.stdout


def test_render_leaves_the_listener_of_a_failing_template_to_mappings_and_exits_with_2(tmp_path):
    (tmp_path / "policy.yaml").write_text("templates: [{namespaces: ['*'], kvPrefixes: [shop/]}]")
    (tmp_path / "consul.json").write_text(json.dumps(SNAPSHOT))
    out = tmp_path / "out"

    def render(text):
        (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all([*own_template(text), mapping()]))
        return CliRunner().invoke(
            main,
            ["render", "-f", str(tmp_path / "shop.yaml"), "--snapshot",
             str(tmp_path / "consul.json"), "--policy-file", str(tmp_path / "policy.yaml"),
             "--out", str(out)],
        )  # fmt: skip

    failed = render("\n{{ nothing }}")
    assert failed.exit_code == 2
    assert failed.stderr == (
        "rejected: LoadBalancer shop/edge: TemplateFailed: spec.listeners[0].template: ConfigMap "
        "shop/mine, key template.conf.j2: line 2: 'nothing' is undefined\n"
    )
    assert not list(out.glob("listener-own-*"))
    assert "proxy_pass" in next(out.glob("listener-*.conf")).read_text()

    waits = render('{{ key("shop/a") }}')
    assert waits.exit_code == 2
    assert "TemplatePending" in waits.stderr
    assert "it waits: Consul has no key shop/a" in waits.stderr

    good = render("server { listen 80; return 200 {{ service('web')[0].Port }}; }")
    assert good.exit_code == 2
    assert "rejected: ServiceMapping shop/web: ListenerHasTemplate" in good.stderr
    assert "skipped" not in good.stderr
    [file] = out.glob("listener-*.conf")
    assert file.read_text() == "server { listen 80; return 200 80; }"


def test_a_snapshot_answers_every_kind_of_question_as_consul_does(tmp_path):
    """Services in whatever case, nodes of their instances, folders of keys, datacenters."""
    other = {"services": {"x": []}, "kv": {"shop/a": "1", "shop/b/c": "2", "shopping": "3"}}
    content = {"datacenters": {**SNAPSHOT["datacenters"], "dc2": other}}
    (tmp_path / "consul.json").write_text(json.dumps(content))
    (tmp_path / "policy.yaml").write_text("templates: [{namespaces: ['*'], kvPrefixes: [/]}]")
    text = (
        "{% for s in services() %}{{ s.Name }}{{ s.Tags | join }} {% endfor %}"
        "{% for s in services('@dc2') %}{{ s.Name }}{% endfor %}"
        "{{ service('WEB') | length }}{{ service('v1.web') | length }}"
        "{{ service('v2.web') | length }} "
        "{{ nodes() | map(attribute='Address') | join(',') }} {{ datacenters() | join(',') }} "
        "{{ tree('shop@dc2') | map(attribute='Key') | join(',') }} {{ key('shop/a@dc2') }}"
    )
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(own_template(text)))
    done = CliRunner().invoke(
        main,
        ["render", "-f", str(tmp_path / "shop.yaml"), "--snapshot", str(tmp_path / "consul.json"),
         "--datacenter", "dc1", "--policy-file", str(tmp_path / "policy.yaml"),
         "--out", str(tmp_path / "out")],
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    [file] = (tmp_path / "out").glob("listener-own-*")
    assert file.read_text() == "webv1 110 192.0.2.1 dc1,dc2 a,b/c 1"
