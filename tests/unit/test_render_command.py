"""``consul-nginx render``: what nginx would get, before anything is applied."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from consul_nginx.cli import main
from consul_nginx.resources.tls_secret import parse_tls_secret
from unit.certificates import issued, tls_secret
from unit.manifests import CASES, ENTRY, GOLDEN, SNAPSHOT, balancer, mapping


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def render(folder):
    """Render objects, in the folder of the test, to ``out`` unless other options are given."""

    def run(*objects, snapshot=SNAPSHOT, options=("--out", "out")) -> Result:
        (folder / "shop.yaml").write_text(yaml.safe_dump_all(objects))
        (folder / "consul.json").write_text(json.dumps(snapshot))
        given = ("-f", "shop.yaml", "--snapshot", "consul.json", *options)
        return CliRunner().invoke(main, ["render", *given])

    return run


def program(folder: Path, script: str) -> str:
    """Something in nginx's place, which passes what it is given."""
    path = folder / "nginx"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("case", CASES)
def test_every_golden_folder_is_reproduced(case, tmp_path):
    golden = GOLDEN / case
    done = CliRunner().invoke(
        main,
        ["render", "-f", str(golden / "manifest.yaml"), "--snapshot", str(golden / "consul.json"),
         *(f"--policy-file={file}" for file in golden.glob("policy.yaml")),
         "--out", str(tmp_path / "out"), "--diff", str(golden / "nginx")],
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert "@@" not in done.stdout
    assert files(tmp_path / "out") == files(golden / "nginx")


def test_it_tells_what_nginx_gets(render):
    done = render(balancer(), mapping())
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()] == [
        ["OBJECT", "RESULT"],
        ["LoadBalancer", "shop/edge", "5 files in out"],
        ["ServiceMapping", "shop/web", "1 of 1 instances of web are served"],
    ]


def test_a_rejected_mapping_costs_itself_and_exits_with_2(render, folder):
    good = render(balancer(), mapping())
    expected = files(folder / "out")
    done = render(balancer(), mapping(), mapping("odd", hostnames=["; } evil {"]))
    assert (good.exit_code, done.exit_code) == (0, 2)
    assert files(folder / "out") == expected
    assert done.stdout == good.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("rejected: ServiceMapping shop/odd: Invalid: spec.hostnames[0]: '; } e")


def test_as_json_the_rejected_objects_are_a_list(render, folder):
    odd = mapping("odd", to="none")
    options = ("-o", "json", "--diff", "before", "--check", "--nginx", "no-nginx")
    (folder / "before").mkdir()
    done = render(balancer(), mapping(), options=options)
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    done = render(balancer(), mapping(), odd, options=options)
    assert done.exit_code == 2
    [rejected] = json.loads(done.stdout)
    assert rejected["message"].startswith("spec.loadBalancerRef.name: namespace shop has no")
    del rejected["message"]
    assert rejected == {
        "kind": "ServiceMapping",
        "namespace": "shop",
        "name": "odd",
        "file": "shop.yaml",
        "accepted": False,
        "reason": "LoadBalancerNotFound",
    }
    assert "+++ rendered/nginx.conf" in done.stderr


def test_several_load_balancers_have_a_folder_each_also_when_one_is_rejected(render, folder):
    objects = (balancer(), balancer("inner"), mapping())
    assert render(*objects).exit_code == 0
    assert {path.rpartition("/")[0] for path in files(folder / "out")} == {
        "shop/edge",
        "shop/inner",
    }
    assert render(balancer(), balancer("inner", listeners=[]), mapping()).exit_code == 2
    assert {path.rpartition("/")[0] for path in files(folder / "out")} == {"shop/edge"}


def test_a_paused_load_balancer_is_rendered_and_told_of(render, folder):
    done = render(balancer(paused=True), mapping())
    assert done.exit_code == 0
    assert "5 files in out; spec.paused is true: nginx keeps what it has" in done.stdout
    assert (folder / "out" / "nginx.conf").exists()


def test_without_an_out_folder_nothing_is_written(render, folder):
    before = {"shop.yaml", "consul.json"}
    assert render(balancer(), mapping(), options=()).exit_code == 0
    assert files(folder).keys() == before


def test_files_of_an_earlier_call_are_replaced(render, folder):
    render(balancer(), mapping(), mapping("b", path={"value": "/b"}, backends=[{"service": "b"}]))
    assert len(files(folder / "out")) == 6
    render(balancer(), mapping())
    assert len(files(folder / "out")) == 5
    render(balancer(), balancer("inner"))
    assert all(path.startswith("shop/") for path in files(folder / "out"))
    render(balancer(), mapping())
    assert len(files(folder / "out")) == 5
    assert not (folder / "out" / "shop").exists()


@pytest.mark.parametrize("name", ["notes.txt", "mine.conf", "deeper/notes.txt", "a/b/mine.conf"])
def test_a_folder_with_files_of_somebody_elses_is_left_alone(render, folder, name):
    (folder / "out" / name).parent.mkdir(parents=True)
    (folder / "out" / name).write_text("mine")
    done = render(balancer(), mapping())
    assert done.exit_code == 1
    assert f"out/{name.split('/')[0]}" in done.stderr
    assert "name a folder that is empty" in done.stderr
    assert files(folder / "out") == {name: "mine"}


def test_the_out_folder_may_be_under_version_control(render, folder):
    (folder / "out").mkdir()
    (folder / "out" / ".gitattributes").write_text("* -diff")
    for _ in range(2):
        assert render(balancer(), mapping()).exit_code == 0
    assert (folder / "out" / ".gitattributes").read_text() == "* -diff"


def test_a_link_in_the_out_folder_is_not_followed(render, folder):
    render(balancer(), mapping())
    (folder / "precious.conf").write_text("mine")
    os.symlink(folder / "precious.conf", folder / "out" / "endpoints-1.conf")
    assert render(balancer(), mapping()).exit_code == 1
    assert (folder / "precious.conf").read_text() == "mine"


def test_the_difference_to_a_folder_is_printed_as_diff_does(render, folder):
    render(balancer(), mapping())
    before = files(folder / "out")
    shown = render(
        balancer(),
        mapping(hostnames=["shop.example"]),
        snapshot={"datacenters": {"dc1": {}}},
        options=("--out", "out", "--diff", "out"),
    ).stdout
    assert "--- out/listener-e0603c499aae47eb.conf\n+++ out/listener-e0603" in shown
    assert "+    server_name shop.example;\n" in shown
    assert "-server 10.0.0.1:80 max_fails=0;\n" in shown
    patched = folder / "patched"
    patched.mkdir()
    for name, text in before.items():
        (patched / name).write_text(text)
    subprocess.run(["patch", "-s", "-p1", "-d", patched], input=shown, text=True, check=True)
    assert files(patched) == files(folder / "out")


def test_new_and_vanished_files_and_a_missing_end_of_line_are_in_the_difference(render, folder):
    old = folder / "old"
    old.mkdir()
    (old / "gone.conf").write_text("x")
    (old / "README.md").write_text("not a bundle's")
    shown = render(balancer(), options=("--diff", "old")).stdout
    assert "--- old/gone.conf\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end" in shown
    assert "--- /dev/null\n+++ rendered/hash.conf\n@@ -0,0 +1 @@\n+return 200" in shown
    assert "README" not in shown


def test_tags_of_a_snapshot_are_chosen_by_us(render):
    tagged = mapping("b", path={"value": "/b"}, backends=[{"service": "web", "tags": ["v2"]}])
    done = render(balancer(), mapping(), tagged)
    assert "shop/b     spec.backends[0].service: Consul knows no instance of web tags v2" in (
        done.stdout
    )


def test_without_nginx_it_says_that_nothing_was_checked(render):
    done = render(balancer(), options=("--check", "--nginx", "no-nginx"))
    assert done.exit_code == 0
    assert done.stderr == (
        "not checked: LoadBalancer shop/edge: there is no no-nginx here; install nginx, or name "
        "it by --nginx\n"
    )


def test_what_nginx_refuses_is_rejected_in_its_own_words(render, folder):
    refusing = program(folder, 'echo "nginx: [emerg] unknown directive in ${5}:3" >&2; exit 1')
    done = render(balancer(), options=("-o", "json", "--check", "--nginx", refusing))
    assert done.exit_code == 2
    [rejected] = json.loads(done.stdout)
    assert (rejected["name"], rejected["reason"]) == ("edge", "Rejected")
    assert rejected["message"] == "nginx: [emerg] unknown directive in nginx.conf:3"


def test_a_port_that_one_may_not_open_says_nothing_about_the_files(render, folder):
    words = "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)"
    forbidden = program(folder, f'echo "{words}" >&2; exit 1')
    done = render(balancer(), options=("--check", "--nginx", forbidden))
    assert done.exit_code == 0
    assert done.stderr == f"not checked: LoadBalancer shop/edge: {words}; run it as root\n"


def test_deployments_beside_them_are_skipped_with_one_line(render):
    done = render(balancer(), {"kind": "Deployment"}, {"kind": "Deployment"}, {"kind": "Service"})
    assert (done.exit_code, done.stderr) == (0, "skipped: 2 Deployment, 1 Service\n")


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        ({}, "consul.json: datacenters is missing"),
        ({"datacenters": {"dc1": {"services": {"web": [5]}}}}, "services.web: no entry is an inst"),
        ({"datacenters": {"dc1": {}, "dc2": {}}}, "say by --datacenter which is the agent's own"),
    ],
)
def test_a_snapshot_that_is_none_exits_with_1_and_nothing_is_written(
    render, folder, snapshot, words
):
    done = render(balancer(), mapping(), snapshot=snapshot)
    assert (done.exit_code, done.stdout) == (1, "")
    assert words in done.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-f", "none.yaml"), "none.yaml: No such file or directory"),
        (("--snapshot", "none.json"), "none.json: No such file or directory"),
        (("--snapshot", "."), ".: Is a directory"),
        (("--datacenter", "dc9"), "consul.json: datacenters: dc1: --datacenter dc9 is not in it"),
        (("--diff", "none"), "none: no such folder"),
        (("--out", "shop.yaml"), "shop.yaml: File exists"),
        (("--out", "shop.yaml/out"), "shop.yaml/out: Not a directory"),
        (("--outt", "x"), "No such option"),
        (("--policy-file", "none"), "'none' does not exist"),
    ],
)
def test_what_can_not_be_done_exits_with_1_and_names_the_reason(render, options, words):
    done = render(balancer(), mapping(), options=options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert words in done.stderr


def test_manifests_without_anything_of_ours_exit_with_1_and_leave_the_folder(render, folder):
    render(balancer())
    before = files(folder / "out")
    done = render({"kind": "Deployment"})
    assert done.exit_code == 1
    assert "shop.yaml: no LoadBalancer or ServiceMapping in it" in done.stderr
    assert files(folder / "out") == before


def test_the_real_program_reads_folders_and_standard_input(folder):
    (folder / "manifests").mkdir()
    (folder / "manifests" / "edge.yml").write_text(yaml.safe_dump(balancer()))
    (folder / "manifests" / "README.md").write_text("Not for Kubernetes")
    (folder / "consul.json").write_text(json.dumps(SNAPSHOT))
    done = subprocess.run(
        [f"{sys.prefix}/bin/consul-nginx", "render", "-f", "manifests/", "-f", "-",
         "--snapshot", "consul.json", "--out", "out/"],
        input=json.dumps({"kind": "List", "items": [mapping()]}),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "10.0.0.1:80" in "".join(files(folder / "out").values())


def test_the_tasks_page_shows_what_the_commands_print(repository, folder):
    page = (repository / "docs" / "tasks.md").read_text()
    [manifest] = re.findall(r"^## Expose a TCP or UDP .*?```yaml\n(.*?)```", page, re.M | re.S)
    _, _, section = page.partition("## See what nginx would get, before you apply it\n")
    shown = re.findall(r"^\$ consul-nginx (.*)\n((?:[^$`].*\n)*)", section, re.M)[:3]
    critical = {**ENTRY, "Checks": [{"CheckID": "alive", "Status": "critical"}]}
    services = {"test-server-thrift-service": [critical, ENTRY]}
    (folder / "consul.json").write_text(
        json.dumps({"datacenters": {"dc1": {"services": services}}})
    )
    slip = manifest.replace("listener: thrift", "listener: thirft")
    for (command, printed), text in zip(shown, (slip, manifest, manifest), strict=True):
        (folder / "edge.yaml").write_text(text)
        if not command.startswith("snapshot"):
            assert printed == CliRunner().invoke(main, shlex.split(command)).stdout


HTTPS = {
    "name": "http",
    "port": 443,
    "protocol": "HTTPS",
    "tls": {"certificateRefs": [{"name": "web-tls"}]},
}


def test_a_certificate_among_the_manifests_is_used_and_its_key_is_written_nowhere(render, folder):
    made = tls_secret("web-tls", issued("shop.example.com", days=90))
    done = render(balancer(listeners=[HTTPS]), mapping(), made)
    assert (done.exit_code, done.stderr) == (0, "")
    written = files(folder / "out")
    [certificate] = [text for name, text in written.items() if name.startswith("certificate-")]
    assert parse_tls_secret(made).file.name in certificate
    assert not any("PRIVATE KEY" in text for text in (*written.values(), done.output))


def test_a_certificate_that_is_missing_is_told_and_the_rest_is_rendered(render, folder):
    done = render(balancer(listeners=[HTTPS]), mapping())
    assert done.exit_code == 0
    assert (
        "LoadBalancer shop/edge: spec.listeners[0].tls.certificateRefs[0].name: Secret "
        "shop/web-tls: it is not among the manifests; add it by -f" in done.stderr
    )
    assert "ssl_reject_handshake on;\n" in files(folder / "out").values()


def test_a_certificate_that_nginx_can_not_use_is_rejected(render, folder):
    raw = tls_secret("web-tls", issued("shop.example.com"))
    raw["data"]["tls.key"] = tls_secret("x", issued("shop.example.com"))["data"]["tls.key"]
    done = render(balancer(listeners=[HTTPS]), mapping(), raw)
    assert done.exit_code == 2
    assert (
        "rejected: Secret shop/web-tls: InvalidCertificateRef: tls.key is not the key of the "
        "certificate in tls.crt" in done.stderr
    )


def test_a_secret_of_another_type_is_passed_over(render):
    done = render(balancer(), mapping(), {"kind": "Secret", "type": "Opaque", "metadata": {}})
    assert (done.exit_code, done.stderr) == (0, "skipped: 1 Secret\n")


def test_check_gives_nginx_the_certificate_and_leaves_no_key_behind(render, folder):
    copy = f'cp -r "$(dirname "$(dirname "$5")")" {shlex.quote(str(folder))}/seen'
    script = f'[ "$1" = -V ] || {copy}'
    made = tls_secret("web-tls", issued("shop.example.com"))
    options = ("--out", "out", "--check", "--nginx", program(folder, script))
    done = render(balancer(listeners=[HTTPS]), mapping(), made, options=options)
    assert done.exit_code == 0, done.output
    seen = files(folder / "seen")
    assert f"secrets/{parse_tls_secret(made).file.name}" in seen
    assert not any("PRIVATE KEY" in text for text in files(folder / "out").values())


def test_authorities_among_the_manifests_are_used(render, folder):
    pem = issued("authority").chain.decode()
    verified = {
        "backendProtocol": "HTTPS",
        "backendTls": {"caCertificateRefs": [{"kind": "ConfigMap", "name": "ca"}]},
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop"},
        "data": {"ca.crt": pem},
    }
    done = render(balancer(), mapping(**verified), config_map)
    assert (done.exit_code, done.stderr) == (0, "")
    assert pem in files(folder / "out").values()
    alone = render(balancer(), mapping(**verified))
    assert "ConfigMap shop/ca: it is not among the manifests; add it by -f" in alone.stdout
