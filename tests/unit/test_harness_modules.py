"""The harness reads versions from go.mod, and the examples run what is pinned there."""

import pytest
import yaml

from cluster.harness import go_toolchain, modules
from cluster.harness.binaries import ALL, ON_DEMAND
from cluster.harness.pinned_images import CONSUL
from cluster.harness.report import HarnessError
from cluster.harness.settings import REPOSITORY

GO_MOD = """
module example.dev/tools

go 1.26.0

require github.com/one/alone v0.1.0

require (
\tk8s.io/kubernetes v1.36.3
\tk8s.io/kubernetes-extra v9.9.9 // indirect
)

replace k8s.io/api => k8s.io/api v0.36.3
"""


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("k8s.io/kubernetes", "v1.36.3"),
        ("k8s.io/kubernetes-extra", "v9.9.9"),
        ("github.com/one/alone", "v0.1.0"),
    ],
)
def test_a_required_version_is_found_by_the_whole_module_name(module: str, version: str) -> None:
    assert modules.version_of(GO_MOD, module) == version


def test_a_replacement_is_not_a_requirement() -> None:
    with pytest.raises(HarnessError, match=r"k8s\.io/api"):
        modules.version_of(GO_MOD, "k8s.io/api")


@pytest.mark.parametrize("binary", [*ALL, *ON_DEMAND], ids=lambda binary: binary.name)
def test_every_program_is_pinned(binary) -> None:
    assert binary.version.startswith("v")


def test_the_consul_example_runs_the_pinned_consul() -> None:
    wanted = CONSUL.name.removeprefix("docker.io/")
    for name in ("servers.yaml", "clients.yaml"):
        text = (REPOSITORY / "examples" / "consul" / name).read_text()
        images = [
            container["image"]
            for described in yaml.safe_load_all(text)
            if described["kind"] in ("StatefulSet", "DaemonSet")
            for container in described["spec"]["template"]["spec"]["containers"]
        ]
        assert images == [wanted]


def test_the_go_version_is_read_from_go_mod() -> None:
    assert go_toolchain.wanted(GO_MOD) == "1.26.0"
