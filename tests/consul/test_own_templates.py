"""A LoadBalancer's templates, rendered by the real process with what a real Consul says."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest
import yaml
from click.testing import CliRunner

from consul_nginx.cli import main
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.facts import FactWatches
from consul_nginx.consul.sources import ConsulSources
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.kube.templates import TemplateStore
from consul_nginx.loops.own_templates import OwnTemplates
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.policy import Policy, TemplateRule
from consul_nginx.sandbox.renderer import Renderer
from unit.factories import load_balancer

LISTENERS = [{"name": "http", "port": 80, "template": {"configMapRef": {"name": "mine"}}}]
EDGE = load_balancer(listeners=LISTENERS)
MINE = ObjectRef(namespace="shop", name="mine")
NESTED = """{% for s in services() if s.Name.startswith(key("FOLDERservices")) %}
{% for i in service(s.Name) %}{{ s.Name }}={{ i.Port }} {% endfor %}
{% endfor %}"""


class ConfigMaps:
    """Stands in the API server's place: it has one ConfigMap, and counts."""

    def __init__(self):
        self.text = ""
        self.read = 0

    async def get(self, kind, ref):
        self.read += 1
        labels = {"consul-nginx.dev/template": "true"}
        return {"metadata": {"labels": labels}, "data": {"template.conf.j2": self.text}}


class Counted(Renderer):
    """Counts the renderings."""

    renderings = 0

    async def render(self, **request):
        self.renderings += 1
        return await super().render(**request)


class Templates:
    """All together, and which LoadBalancers were told to be reconciled."""

    def __init__(self, http):
        async def no_token(*_):
            raise AssertionError("no Secret is named")

        self.config_maps = ConfigMaps()
        self.renderer = Counted()
        self.concerned = set()
        self.watches = FactWatches(
            reader=ConsulSources(
                own=ConsulClient(http=http),
                connect=lambda url: PooledTransport(address=url),
                read_token=no_token,
            ),
            changed=lambda question: self.concerned.update(self.own.asking(question)),
        )
        self.own = OwnTemplates(
            store=TemplateStore(kube=self.config_maps),
            renderer=self.renderer,
            watches=self.watches,
            policy=Policy(templates=(TemplateRule(namespaces=("shop",), kv_prefixes=("t-",)),)),
        )

    async def render(self, source=None):
        if source is not None:
            self.config_maps.text = source
            self.own.changed(MINE)
        [found] = await self.own.render(EDGE)
        return found

    async def concern(self):
        """Wait until the LoadBalancer is to be reconciled."""
        async with asyncio.timeout(15):
            while not self.concerned:  # noqa: ASYNC110 - a test looks on
                await asyncio.sleep(0.01)
        self.concerned.clear()

    async def until(self, text):
        async with asyncio.timeout(15):
            while (await self.render()).text != text:  # noqa: ASYNC110 - a test looks on
                await asyncio.sleep(0.01)


@pytest.fixture
async def templates(consul):
    async with PooledTransport(address=consul.url) as http:
        made = Templates(http)
        yield made
        await made.watches.close()
        await made.renderer.close()


@pytest.fixture
def folder(consul):
    name = f"t-{uuid.uuid4().hex[:8]}/"
    yield name
    consul.ask(f"kv/{name}?recurse", method="DELETE")


def put(consul, key, value):
    """A JSON text: that is how the test's Consul sends it."""
    consul.ask(f"kv/{key}", value)


async def test_the_first_rendering_has_all_answers_also_those_of_answers(consul, templates, folder):
    consul.ask("agent/service/register", {"Name": "nest-a", "Address": "10.1.1.1", "Port": 1})
    consul.ask("agent/service/register", {"Name": "nest-b", "Address": "10.1.1.1", "Port": 2})
    source = NESTED.replace('key("FOLDERservices")', f'(key("{folder}services") | parse_json)')
    put(consul, f"{folder}services", "nest-")
    found = await templates.render(source)
    assert (found.text, found.problem) == ("nest-a=1 nest-b=2 ", None)
    templates.concerned.clear()
    consul.ask("agent/service/register", {"Name": "nest-c", "Address": "10.1.1.1", "Port": 3})
    await templates.concern()
    await templates.until("nest-a=1 nest-b=2 nest-c=3 ")
    for name in ("nest-a", "nest-b", "nest-c"):
        consul.ask(f"agent/service/deregister/{name}", method="PUT")
    await templates.until("")


async def test_a_key_that_is_missing_is_waited_for_and_told_of(consul, templates, folder):
    found = await templates.render(f'{{{{ key("{folder}a") | trusted }}}}')
    assert found.text is None
    assert found.problem.reason == "TemplatePending"
    assert found.problem.message == f"it waits: Consul has no key {folder}a"
    templates.concerned.clear()
    put(consul, f"{folder}a", "there")
    await templates.concern()
    assert (await templates.render()).text == '"there"'
    put(consul, f"{folder}a", "changed")
    await templates.concern()
    assert (await templates.render()).text == '"changed"'


async def test_the_same_is_not_rendered_again_and_an_edit_is(templates, consul, folder):
    source = f'{{{{ key_or_default("{folder}a", 1) }}}}'
    assert (await templates.render(source)).text == "1"
    renderings = templates.renderer.renderings
    for _ in range(5):
        assert (await templates.render()).text == "1"
    assert templates.renderer.renderings == renderings
    assert templates.config_maps.read == 1
    assert (await templates.render(source.replace("1", "2"))).text == "2"
    assert templates.config_maps.read == 2


async def test_a_failure_and_its_repair(templates):
    found = await templates.render("one\n{{ nothing }}")
    assert found.problem.reason == "TemplateFailed"
    assert found.problem.message == "line 2: 'nothing' is undefined"
    assert (await templates.render("{{ 1 }}")).text == "1"


async def test_a_folder_that_the_policy_does_not_name_is_not_asked_for(templates):
    found = await templates.render('{{ key("vault/a") }}')
    assert found.problem.reason == "TemplateFailed"
    assert "policy.templates" in found.problem.message
    assert templates.watches.watched == 0


async def test_a_load_balancer_that_is_gone_asks_nothing_any_more(templates, folder):
    await templates.render(f'{{{{ key_exists("{folder}a") | string }}}}')
    assert templates.watches.watched == 1
    assert templates.own.changed(MINE) == {EDGE.meta.ref}
    assert await templates.own.render(load_balancer()) == ()
    assert templates.watches.watched == 0
    assert templates.own.changed(MINE) == frozenset()


async def test_what_templates_ask_is_recorded_and_renders_the_same(consul, tmp_path, folder):
    consul.ask("agent/service/register", {"Name": "rec", "Address": "10.1.1.1", "Port": 7})
    put(consul, f"{folder}a", "b; c")
    text = (
        '{% for s in services() if s.Name == "rec" %}{% for i in service(s.Name) %}'
        f"{{{{ i.Port }}}} {{% endfor %}}{{% endfor %}}{{{{ key('{folder}a') | nginx_quote }}}}"
        f"{{{{ ls('{folder}') | length }}}} {{{{ datacenters() | join }}}}"
        " {{ (nodes() | length > 0) | string }}\n"
    )
    objects = [
        {
            "apiVersion": "consul-nginx.dev/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"name": "edge", "namespace": "shop"}, "spec": {"listeners": LISTENERS},
        },
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "mine", "namespace": "shop",
                "labels": {"consul-nginx.dev/template": "true"},
            },
            "data": {"template.conf.j2": text},
        },
    ]  # fmt: skip
    manifests, snapshot, out = (tmp_path / name for name in ("edge.yaml", "consul.json", "out"))
    manifests.write_text(yaml.safe_dump_all(objects))
    (tmp_path / "policy.yaml").write_text("templates: [{namespaces: [shop], kvPrefixes: [/]}]")

    async def run(*arguments):
        done = await asyncio.to_thread(CliRunner().invoke, main, [*map(str, arguments)])
        assert (done.exit_code, done.stderr) == (0, "")

    await run("snapshot", f"--consul-address={consul.url}", "-f", manifests, "--out", snapshot)
    recorded = json.loads(snapshot.read_text())["datacenters"]["dc1"]
    assert recorded["kv"] == {f"{folder}a": '"b; c"'}
    assert {"rec", "consul"} <= recorded["services"].keys()
    policy = f"--policy-file={tmp_path / 'policy.yaml'}"
    await run("render", "-f", manifests, "--snapshot", snapshot, policy, "--out", out)
    [found] = out.glob("listener-own-*.conf")
    assert found.read_text() == '7 "\\"b; c\\""1 dc1 True\n'
    consul.ask("agent/service/deregister/rec", method="PUT")
