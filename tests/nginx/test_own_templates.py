"""The reference's template, as docs/own-templates.md translates it, in the real nginx."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from consul_nginx.cli import main
from consul_nginx.commands.declared import declarations
from consul_nginx.commands.manifests import read_manifests
from consul_nginx.commands.own_templates import own_texts
from consul_nginx.commands.snapshots import parse_snapshot
from nginx.served import Served, loaded
from nginx.support import Pod, free_port, nginx_binary
from unit.factories import planned

EXAMPLE = Path(__file__).parents[2] / "examples" / "own-template.yaml"
PAGE = Path(__file__).parents[2] / "docs" / "own-templates.md"
POLICY = "templates: [{namespaces: [shop], kvPrefixes: [shop/]}]"


def snapshot(*numbers: int, **kv: str) -> str:
    entries = [
        {
            "Node": {"Node": f"node-{number}", "Address": "192.0.2.1"},
            "Service": {"ID": str(number), "Address": f"10.244.0.{number}", "Port": 8080},
            "Checks": [],
        }
        for number in numbers
    ]
    for entry in entries:
        entry["Service"]["Service"] = "my-web-server"
    content = {"services": {"my-web-server": entries}, "kv": kv}
    return json.dumps({"datacenters": {"dc1": content}})


@pytest.fixture
def stack():
    with ExitStack() as found:
        yield found


def serve(pod: Pod, stack: ExitStack, *numbers: int) -> Served:
    declared = declarations(read_manifests([str(EXAMPLE)]), namespace="default")
    consul = parse_snapshot(snapshot(*numbers))
    texts = asyncio.run(own_texts(declared, policy=None, namespace="default", ask=consul.answer))
    [[own]] = texts.values()
    assert own.text is not None, own
    port = free_port()
    plan = planned(
        load_balancer=declared.load_balancers[0].value,
        mappings=(),
        snapshot={},
        own=(replace(own, text=own.text.replace("listen 80;", f"listen {port};")),),
    )
    return stack.enter_context(loaded(pod, plan.configuration, ports={"http": port}))


def test_requests_rotate_over_all_instances_with_the_headers_of_the_reference(
    pod: Pod, stack: ExitStack
):
    nginx = serve(pod, stack, 1, 2, 3)
    answers = [nginx.ask("/features", host="localhost") for _ in range(12)]
    assert {answer.asked["backend"] for answer in answers} == {1, 2, 3}
    headers = nginx.ask("/features", host="192.168.10.201").asked["headers"]
    assert (headers["host"], headers["x-real-ip"], headers["x-forwarded-for"]) == (
        "192.168.10.201", "127.0.0.1", "127.0.0.1",
    )  # fmt: skip
    assert nginx.ask("/instances", host="localhost").text == "node-1, node-2, node-3"


def test_without_an_instance_nginx_runs_and_says_502(pod: Pod, stack: ExitStack):
    assert serve(pod, stack).ask("/features", host="localhost").status == 502


def test_render_and_its_check_take_the_example(tmp_path: Path):
    (tmp_path / "consul.json").write_text(snapshot(1, 2, **{"shop/timeout": "5s"}))
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = CliRunner().invoke(
        main,
        ["render", "-f", str(EXAMPLE), "--snapshot", str(tmp_path / "consul.json"), "--check",
         "--policy-file", str(tmp_path / "policy.yaml"), "--nginx", nginx_binary(),
         "--out", str(tmp_path / "out")],
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (
        0, "checked: LoadBalancer shop/reference: nginx takes it\n",
    )  # fmt: skip
    [file] = (tmp_path / "out").glob("listener-own-*.conf")
    assert "proxy_read_timeout 5s;" in file.read_text()


def test_the_page_shows_the_lines_of_the_example():
    example = {line.strip() for line in EXAMPLE.read_text(encoding="utf-8").splitlines()}
    shown = PAGE.read_text(encoding="utf-8").rpartition("becomes\n```\n")[2].partition("```")[0]
    assert {line.strip() for line in shown.splitlines()} <= example
