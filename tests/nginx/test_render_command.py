"""``consul-nginx render --check``, with the real nginx."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from consul_nginx.cli import main
from nginx.support import nginx_binary
from unit.manifests import CASES, GOLDEN, SNAPSHOT, balancer, mapping


def check(*options: str | Path) -> Result:
    nginx = ("--check", "--nginx", nginx_binary())
    return CliRunner().invoke(main, ["render", *map(str, options), *nginx])


@pytest.mark.parametrize("case", CASES)
def test_nginx_takes_every_golden_folder(case):
    folder = GOLDEN / case
    policy = [f"--policy-file={file}" for file in folder.glob("policy.yaml")]
    done = check("-f", folder / "manifest.yaml", "--snapshot", folder / "consul.json", *policy)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == "checked: LoadBalancer shop/edge: nginx takes it\n"


def test_every_load_balancer_is_checked_and_nothing_is_left(tmp_path, monkeypatch):
    root = Path(tempfile.mkdtemp(prefix="check-"))  # short: a unix socket's path holds 107 bytes
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    objects = [balancer(), balancer("inner"), mapping()]
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(objects))
    (tmp_path / "consul.json").write_text(json.dumps(SNAPSHOT))
    done = check("-f", tmp_path / "shop.yaml", "--snapshot", tmp_path / "consul.json")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "checked: LoadBalancer shop/edge: nginx takes it",
        "checked: LoadBalancer shop/inner: nginx takes it",
    ]
    root.rmdir()


def test_what_nginx_refuses_is_told_in_its_own_words(tmp_path):
    """Nothing that we render is refused: a line is put into it on its way to nginx."""
    spoiling = tmp_path / "nginx"
    spoiling.write_text(
        f'#!/bin/sh\n[ "$1" = -V ] || echo "evil on;" >> "$5"\nexec {nginx_binary()} "$@"\n'
    )
    spoiling.chmod(0o755)
    golden = GOLDEN / "http"
    files = ("-f", str(golden / "manifest.yaml"), "--snapshot", str(golden / "consul.json"))
    done = CliRunner().invoke(main, ["render", *files, "--check", "--nginx", str(spoiling)])
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    words, _, place = line.rpartition(" in ")
    assert words == (
        'rejected: LoadBalancer shop/edge: Rejected: nginx: [emerg] unknown directive "evil"'
    )
    assert place.startswith("nginx.conf:")
