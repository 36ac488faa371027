"""docs/safety.md: every rule has its tests, and those that stand nowhere else are here."""

from __future__ import annotations

import ast
import re

import pytest
from jinja2 import UndefinedError

from consul_nginx.model.consul import Observation
from consul_nginx.model.layout import Layout
from consul_nginx.nginx import tokens
from consul_nginx.nginx.environment import template
from consul_nginx.nginx.render import render
from consul_nginx.nginx.tokens import UnsafeTokenError
from consul_nginx.plan.load_balancer import bound
from unit.factories import instance, load_balancer, mapping, planned

RULES = 11
# On this machine and by who asks for it: `consul-nginx render --check`.
STARTS_NGINX = "commands/nginx_test.py"


def test_every_rule_names_tests_that_there_are(repository):
    text = (repository / "docs" / "safety.md").read_text()
    rows = re.findall(r"^\| (\d+)? ?\|? ?(.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows if number] == list(range(1, RULES + 1))
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z_0-9]+)`", text)
    assert len(named) >= 2 * RULES
    for file, name in named:
        assert re.search(rf"^def {name}\(", (repository / file).read_text(), re.MULTILINE), name


def test_a_template_can_not_leave_out_what_is_missing():
    with pytest.raises(UnsafeTokenError, match="Undefined"):
        template("upstream.conf.j2").render(upstream={}, zone_size=tokens.kilobytes(1))
    with pytest.raises(UndefinedError):
        template("upstream.conf.j2").render()


def test_no_text_of_a_users_is_in_a_name_or_a_comment():
    edge = load_balancer("users-edge", listeners=[{"name": "users-listener", "port": 80}])
    item = mapping(
        "users-mapping",
        listener="users-listener",
        backends=[{"service": "users-service", "tags": ["users-tag"], "filter": "users == 1"}],
        balancing={"sticky": {"cookie": "c"}},
    )
    item = bound(mapping=item, load_balancer=edge)
    plan = planned(
        load_balancer=edge,
        mappings=[item],
        snapshot={item.queries[0]: Observation(instances=(instance(),))},
    )
    [(_, verdict)] = plan.mappings
    assert verdict.accepted.is_true
    files = render(configuration=plan.configuration, layout=Layout()).files
    assert "users" not in repr(dict(files))


def test_the_chart_has_no_webhook(repository):
    chart = repository / "charts" / "consul-nginx-operator"
    texts = [path.read_text() for path in chart.rglob("*.yaml")]
    assert texts
    assert not any("WebhookConfiguration" in text for text in texts)


def test_the_operator_starts_no_nginx(repository):
    """nginx is started beside nginx (agent/), and for who asks for it on a command line.

    The operator's one process is that which renders users' own templates.
    """
    package = repository / "operator" / "consul_nginx"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(n.name == "subprocess" for n in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "subprocess")
        or (
            isinstance(node, ast.Attribute)
            and re.fullmatch(r"create_subprocess_\w+|system|popen|exec[lv]\w*|fork", node.attr)
        )
    }
    assert STARTS_NGINX in found
    assert {name for name in found if not name.startswith("agent/")} == {
        STARTS_NGINX,
        "sandbox/renderer.py",
    }
