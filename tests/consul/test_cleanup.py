"""Everything of one cluster is found and removed, and nothing of anybody else's."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from consul_nginx.cli import main
from consul_nginx.consul.synthetic import CatalogRegistrations, node_name
from consul_nginx.model.registration import Place
from nginx.support import wait_for


@pytest.fixture
def run(consul, cluster):
    """Runs ``consul-nginx cleanup``; the dev agent is server and agent."""

    async def command(*flags):
        return await asyncio.to_thread(
            CliRunner().invoke,
            main,
            ["cleanup", f"--consul-address={consul.url}", f"--agent-port={consul.port}",
             f"--cluster={cluster}", *flags],
        )  # fmt: skip

    return command


@pytest.fixture
async def registered(agents, catalog, api, cluster, place, wanted, registering):
    """Some in each mode, and some of another cluster beside them; all IDs that are ours."""
    on_agent, in_catalog = wanted("on-agent"), [wanted(f"pod-{number}") for number in range(3)]
    theirs = wanted("theirs", of=f"{cluster}.b")
    await agents.apply(place, registering(on_agent, theirs))
    await catalog.apply(place, registering(*in_catalog[:2]))
    await catalog.apply(Place(node="worker-2"), registering(in_catalog[2]))
    other = CatalogRegistrations(cluster=f"{cluster}.b", api=api)
    await other.apply(place, registering(wanted("theirs-too", of=f"{cluster}.b")))
    return {one.content.id for one in (on_agent, *in_catalog)}


def services(consul):
    """IDs of all there is in the catalog."""
    return {
        service["ID"]
        for node in consul.ask("catalog/nodes")
        for service in consul.ask(f"catalog/node-services/{node['Node']}")["Services"]
    }


@pytest.fixture
async def known(consul, registered):
    """What is registered, once the agent has told the catalog as well."""
    wait_for(lambda: registered <= services(consul))
    return registered


async def test_a_dry_run_lists_everything_and_removes_nothing(run, consul, known):
    done = await run("--dry-run", "--output=json")
    assert done.exit_code == 0, done.output
    assert {row["id"] for row in json.loads(done.output)} == known
    assert known <= services(consul)


async def test_everything_of_the_cluster_is_removed_and_nothing_else(run, consul, known, cluster):
    before = services(consul)
    done = await run()
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["MODE", "NODE", "SERVICE", "ID", "RESULT"]
    assert len(lines) == 1 + len(known)
    assert all(line.endswith("  removed") for line in lines[1:])
    wait_for(lambda: services(consul) == before - known)
    nodes = {node["Node"] for node in consul.ask("catalog/nodes")}
    assert not {name for name in nodes if name.startswith(f"{cluster}_")}
    again = await run()
    assert (again.exit_code, again.output) == (0, "nothing of this cluster's is registered\n")


async def test_what_can_not_be_removed_is_named_and_the_exit_code_says_so(run, known):
    done = await run("--agent-port=1")
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.output
    assert done.output.count("  removed") == 3


async def test_a_node_with_something_of_somebody_elses_stays(run, consul, known, cluster):
    name = node_name(cluster=cluster, node="worker-2")
    theirs = {"Node": name, "SkipNodeUpdate": True, "Service": {"ID": "x\x1b[2J", "Service": "x"}}
    consul.ask("catalog/register", theirs)
    done = await run()
    assert done.exit_code == 1
    assert "the synthetic node stays" in done.output
    assert [one["ID"] for one in consul.ask(f"catalog/node-services/{name}")["Services"]] == [
        "x\x1b[2J"
    ]


async def test_what_is_in_consul_can_not_speak_to_the_terminal(
    run, consul, catalog, place, wanted, registering
):
    await catalog.apply(place, registering(wanted(name="evil\x1b[2J", id="evil\x07")))
    done = await run()
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\x07" not in done.output


@pytest.mark.parametrize("name", ['a" or "" == "', "", "Ä", "a b"])
async def test_a_name_that_is_none_is_refused(run, name):
    done = await run(f"--cluster={name}")
    assert done.exit_code == 2
    assert "--cluster" in done.output


async def test_a_consul_that_does_not_answer_is_named(run):
    done = await run("--consul-address=http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "Consul at http://127.0.0.1:1" in done.output
