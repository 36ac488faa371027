"""Several clusters on one machine never share a number, a network or a process."""

import os
import subprocess
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from cluster.harness import instances, processes
from cluster.harness.instances import Instance, free_number
from cluster.harness.report import HarnessError


@pytest.mark.parametrize(
    ("taken", "routed", "number"),
    [
        ([], [], 0),
        ([0, 1, 3], [], 2),
        ([], ["172.30.0.0/24"], 1),
        ([0], ["10.201.0.0/16", "10.102.7.0/24"], 3),
    ],
)
def test_a_new_cluster_gets_the_lowest_number_nobody_uses(taken, routed, number) -> None:
    assert free_number(taken, routed=[IPv4Network(each) for each in routed]) == number


def test_a_machine_that_routes_everything_already_is_refused() -> None:
    with pytest.raises(HarnessError, match="no instance number"):
        free_number([], routed=[IPv4Network("10.0.0.0/8")])


def test_networks_of_instances_never_overlap() -> None:
    networks = [
        network
        for number in range(40)
        for each in [Instance(number=number, cluster_dir=Path("/x"))]
        for network in (each.node_network, each.pod_network, each.service_network)
    ]
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))


def test_a_folder_keeps_its_number_until_it_is_forgotten(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(instances, "REGISTRY", tmp_path / "registry")
    monkeypatch.setattr(instances, "_routed_networks", list)
    first = instances.find_or_allocate(tmp_path / "a")
    assert instances.find_or_allocate(tmp_path / "b").number == 1
    assert instances.find_or_allocate(tmp_path / "a") == first
    instances.forget(first)
    assert instances.find(tmp_path / "a") is None
    assert instances.find_or_allocate(tmp_path / "c").number == 0


def _record(**changes) -> processes.Record:
    known = {
        "name": "me",
        "pid": os.getpid(),
        "start_time": processes.start_time_of(os.getpid()),
        "boot": instances.boot_id(),
        "log": "",
    }
    return processes.Record(**{**known, **changes})


def test_a_process_is_known_by_id_start_time_and_boot() -> None:
    assert _record().alive


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot": "another"}, {"pid": 2**22 + 1}])
def test_a_reused_process_id_is_not_ours(change) -> None:
    assert not _record(**change).alive


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.start_time_of(process.pid) is None


def test_a_program_name_with_spaces_and_parentheses_is_understood(tmp_path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *["0"] * 18, "4711", "0"])
    (tmp_path / "7" / "stat").write_text(f"7 (a ) b (c) {fields}\n")
    assert processes.start_time_of(7, proc=tmp_path) == 4711
