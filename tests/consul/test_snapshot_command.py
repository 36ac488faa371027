"""``consul-nginx snapshot``: what is recorded answers as Consul itself does."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml
from click.testing import CliRunner

from consul_nginx.cli import main
from consul_nginx.commands.snapshots import parse_snapshot
from consul_nginx.consul.client import ConsulClient
from consul_nginx.consul.transport import PooledTransport
from consul_nginx.model.consul import ServiceQuery
from unit.manifests import balancer, mapping


@pytest.fixture
def run(consul):
    """Runs ``consul-nginx snapshot``."""

    async def command(*flags):
        arguments = ["snapshot", f"--consul-address={consul.url}", *map(str, flags)]
        return await asyncio.to_thread(CliRunner().invoke, main, arguments)

    return command


@pytest.fixture
def registered(consul):
    """With tags, with a check that fails, with their node's address, with odd names."""
    instances = [
        {"ID": "s-1", "Name": "snap", "Address": "10.0.0.1", "Port": 80, "Tags": ["V2", "blue"]},
        {"ID": "s-2", "Name": "snap", "Port": 81, "Tags": ["v2"], "Weights": {"Passing": 7}},
        {"ID": "s-3", "Name": "snap", "Address": "10.0.0.3", "Check": {"TTL": "1h"}},
        {"ID": "s-4", "Name": "Snap.Shot", "Address": "10.0.0.4", "Port": 80},
        {"ID": "s-5", "Name": "snap/odd", "Address": "10.0.0.5", "Port": 80},
    ]
    for instance in instances:
        consul.ask("agent/service/register", instance)
    yield
    for instance in instances:
        consul.ask(f"agent/service/deregister/{instance['ID']}", method="PUT")


@pytest.mark.parametrize(
    "query",
    [
        ServiceQuery(service="snap"),
        ServiceQuery(service="SNAP"),
        ServiceQuery(service="snap", tags=("v2",)),
        ServiceQuery(service="snap", tags=("BLUE", "v2")),
        ServiceQuery(service="snap", tags=("v2", "red")),
        ServiceQuery(service="snap", datacenter="dc1"),
        ServiceQuery(service="snap.shot"),
        ServiceQuery(service="nobody"),
    ],
    ids=str,
)
async def test_a_recorded_service_answers_as_consul_does(run, consul, registered, query):
    done = await run()
    assert done.exit_code == 0, done.stderr
    async with PooledTransport(address=consul.url) as http:
        live = await ConsulClient(http=http).service(query=query)
    assert parse_snapshot(done.stdout).observe(query).instances == live.instances


async def test_entries_are_exactly_those_of_consul(run, consul, registered):
    done = await run("--service", "snap", "--service", "nobody")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "datacenters": {
            "dc1": {"services": {"snap": consul.ask("health/service/snap"), "nobody": []}}
        }
    }


async def test_without_any_choice_it_is_the_whole_catalog_but_unsafe_names(run, registered):
    done = await run()
    services = json.loads(done.stdout)["datacenters"]["dc1"]["services"]
    assert {"consul", "snap", "Snap.Shot"} <= services.keys()
    assert done.stderr == "skipped: services 'snap/odd': unsafe names\n"


async def test_with_manifests_it_is_what_they_name_and_render_takes_it(run, registered, tmp_path):
    objects = [
        balancer(consul={"datacenter": "dc1"}),
        mapping("a", backends=[{"service": "snap"}]),
        mapping("b", backends=[{"service": "SNAP"}]),
        mapping("c", to="none", backends=[{"service": "nobody"}]),
        mapping("d", hosts=[]),
    ]
    files = tmp_path / "shop.yaml"
    files.write_text(yaml.safe_dump_all(objects[:2]))
    out = tmp_path / "consul.json"
    done = await run("-f", files, "--out", out)
    assert (done.exit_code, done.output) == (0, "")
    arguments = ["render", "-f", str(files), "--snapshot", str(out)]
    done = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 of 3 instances of snap@dc1 are served" in done.stdout
    files.write_text(yaml.safe_dump_all(objects))
    done = await run("-f", files)
    recorded = json.loads(done.stdout)["datacenters"]["dc1"]["services"]
    assert {name.lower() for name in recorded} == {"snap", "nobody"}
    assert done.stderr.startswith("skipped: ServiceMapping shop/d: spec.hosts: []: ")


async def test_the_nearest_come_first_where_all_mappings_name_one_node(
    run, consul, registered, tmp_path
):
    for number in (1, 2):
        node = f"snap-{number}"
        service = {"ID": f"a-{number}", "Service": "away", "Port": 80}
        address = f"10.0.9.{number}"
        consul.ask("catalog/register", {"Node": node, "Address": address, "Service": service})
    consul.locate({"snap-1": 0.2, "snap-2": 0.1})
    near = [{"service": "away", "near": {"node": "snap-2", "instances": 1}}]
    far = [{"service": "away", "near": {"node": "snap-1", "instances": 1}}]
    files = tmp_path / "shop.yaml"
    files.write_text(yaml.safe_dump_all([balancer(), mapping("a", backends=near)]))

    async def recorded():
        done = await run("-f", files)
        found = json.loads(done.stdout)["datacenters"]["dc1"]["services"]["away"]
        return [item["Service"]["ID"] for item in found], done.stderr

    assert await recorded() == (["a-2", "a-1"], "")
    both = [mapping("a", backends=near), mapping("b", hostnames=["b.example"], backends=far)]
    files.write_text(yaml.safe_dump_all([balancer(), *both]))
    ids, told = await recorded()
    assert set(ids) == {"a-1", "a-2"}
    assert told.startswith("warning: away is wanted near snap-1, snap-2: a snapshot has one order")


async def test_what_consul_refuses_exits_with_1_in_its_words(run, consul):
    done = await run("--consul-datacenter", "dc9", "--service", "web")
    assert done.exit_code == 1
    assert f"Consul at {consul.url}: HTTP 500 No path to datacenter" in done.stderr
    done = await run("--service", "../kv/secret")
    assert done.exit_code == 1
    assert "unsafe name '../kv/secret'" in done.stderr


async def test_what_a_token_may_not_read_never_looks_like_nothing(run, guarded):
    asked = f"--consul-address={guarded.url}"
    for flags, words in (
        (("--service", "web"), "name it by --consul-datacenter"),
        (("--consul-datacenter", "dc1"), "it shows no service at all: the ACL token needs"),
    ):
        done = await run(asked, *flags)
        assert (done.exit_code, done.stdout) == (1, "")
        assert words in done.stderr


async def test_a_service_that_the_token_may_not_read_is_an_error_or_told_of(run, guarded):
    rules = 'service "consul" { policy = "read" } node_prefix "" { policy = "read" }'
    guarded.ask("acl/policy", {"Name": "only-consul", "Rules": rules})
    secret = guarded.ask("acl/token", {"Policies": [{"Name": "only-consul"}]})["SecretID"]
    guarded.ask("agent/service/register", {"Name": "secret", "Port": 80})
    flags = (f"--consul-address={guarded.url}", f"--consul-token={secret}")
    done = await run(*flags, "--service", "secret")
    assert done.exit_code == 1
    assert "the ACL token may not read service secret: it needs service:read" in done.stderr
    done = await run(*flags)
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: the ACL token may not read every service")
    assert list(json.loads(done.stdout)["datacenters"]["dc1"]["services"]) == ["consul"]
    guarded.ask("agent/service/deregister/secret", method="PUT")


async def test_what_can_not_be_done_exits_with_1_and_names_the_reason(run, tmp_path):
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump(balancer()))
    for flags, words in (
        (("-f", tmp_path / "edge.yaml"), "edge.yaml: no ServiceMapping and no template that"),
        (("-f", tmp_path / "none.yaml"), "none.yaml: No such file or directory"),
        (("--service", "web", "--out", tmp_path / "none" / "x"), "x: No such file or directory"),
        (("--consul-address", "http://127.0.0.1:1"), "Consul at http://127.0.0.1:1: "),
    ):
        done = await run(*flags)
        assert (done.exit_code, done.stdout) == (1, "")
        assert words in done.stderr
