"""``consul-nginx registrations``, on manifests as people write them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

from consul_nginx.cli import main

POD = """
    apiVersion: v1
    kind: Pod
    metadata:
      name: web
      namespace: shop
      creationTimestamp: 2026-11-22T07:00:00Z
      annotations:
        SERVICE_80_NAME: my-web-server
        SERVICE_80_CHECK_HTTP: /features
        SERVICE_80_CHECK_INITIAL_STATUS: passing
    spec:
      containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]
"""
PLACE = (
    "--pod-ip=10.0.0.1", "--node-ip=192.168.0.1", "--node-name=node-a", "--cluster-name=west",
)  # fmt: skip


def template(*, annotations="{SERVICE_TAGS: '$(POD_NAME)'}", ports="[{containerPort: 80}]"):
    return (
        f"{{metadata: {{annotations: {annotations}}}, "
        f"spec: {{containers: [{{image: web, ports: {ports}}}]}}}}"
    )


def manifest(kind, spec, *, name="web"):
    return f"{{kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"


@pytest.fixture
def run(tmp_path):
    """Run the command on texts of manifests, each in a file of its own."""

    def run(*texts, options=("-o", "json")):
        names = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.yaml"
            path.write_text(textwrap.dedent(text))
            names += ["-f", str(path)]
        return CliRunner().invoke(main, ["registrations", *names, *options])

    return run


def test_a_pod_prints_as_consul_would_hold_it(run):
    done = run(POD, options=("-o", "json", "--mode", "agent", *PLACE))
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [
        {
            "ID": "west:shop/web:80",
            "Name": "my-web-server",
            "Address": "10.0.0.1",
            "Port": 80,
            "Tags": [],
            "Meta": {
                "consul_nginx_cluster": "west",
                "consul_nginx_namespace": "shop",
                "consul_nginx_pod": "web",
                "consul_nginx_pod_uid": "<pod-uid>",
            },
            "Weights": {"Passing": 1, "Warning": 1},
            "Check": {
                "HTTP": "http://10.0.0.1:80/features",
                "Interval": "10s",
                "Status": "passing",
            },
        }
    ]


def test_what_is_not_known_prints_as_placeholders(run):
    annotations = (
        "{SERVICE_TAGS: '$(NODE_NAME),$(POD_IP)', SERVICE_NAME: $(POD_NAME), "
        "SERVICE_CHECK_TCP: 'true'}"
    )
    [found] = json.loads(
        run(manifest("Deployment", f"{{template: {template(annotations=annotations)}}}")).stdout
    )
    assert found["ID"] == "<cluster-name>:shop/<pod-name>:80"
    assert found["Name"] == "<pod-name>"
    assert found["Address"] == "<pod-ip>"
    assert found["Tags"] == ["<node-name>", "<pod-ip>"]
    assert found["Check"]["TCP"] == "<pod-ip>:80"


def test_on_the_hosts_network_the_nodes_address_is_not_known(run):
    text = POD.replace("spec:", "spec:\n      hostNetwork: true")
    assert [item["Address"] for item in json.loads(run(text).stdout)] == ["<node-ip>"]


@pytest.mark.parametrize(
    ("kind", "spec", "pod"),
    [
        ("Deployment", f"{{template: {template()}}}", "<pod-name>"),
        ("ReplicaSet", f"{{template: {template()}}}", "<pod-name>"),
        ("DaemonSet", f"{{template: {template()}}}", "<pod-name>"),
        ("Job", f"{{template: {template()}}}", "<pod-name>"),
        ("CronJob", f"{{jobTemplate: {{spec: {{template: {template()}}}}}}}", "<pod-name>"),
        ("StatefulSet", f"{{template: {template()}}}", "web-0"),
        ("StatefulSet", f"{{ordinals: {{start: 3}}, template: {template()}}}", "web-3"),
    ],
)
def test_everything_that_makes_pods_is_read(run, kind, spec, pod):
    done = run(manifest(kind, spec))
    assert done.exit_code == 0
    assert [item["Tags"] for item in json.loads(done.stdout)] == [[pod]]


def test_lists_several_documents_and_several_files_are_read(run):
    several = f"---\n{POD}---\nkind: Service\nmetadata: {{name: web}}\n---\n"
    several = "\n".join(line.removeprefix("    ") for line in several.splitlines())
    listed = f"{{kind: List, items: [{manifest('Deployment', f'{{template: {template()}}}')}]}}"
    done = run(several, listed, '{"kind": "PodList", "items": [{"metadata": {"name": "bare"}}]}')
    assert done.exit_code == 0
    assert [item["Name"] for item in json.loads(done.stdout)] == ["my-web-server", "web"]


def test_warnings_name_object_and_key_and_leave_the_output_parseable(run):
    done = run(POD)
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)) == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("warning: Pod shop/web: CheckNotRun: SERVICE_80_CHECK_HTTP: ")


def test_every_warning_is_printed_however_many_there_are(run):
    annotations = ", ".join(f"SERVICE_BAD.{number}: v" for number in range(30))
    done = run(
        manifest("Deployment", f"{{template: {template(annotations=f'{{{annotations}}}')}}}")
    )
    assert [line for line in done.stderr.splitlines() if "MetaDropped" not in line] == []
    assert len(done.stderr.splitlines()) == 30


def test_the_table_is_aligned_and_followed_by_warnings(run):
    done = run(POD, options=())
    assert done.exit_code == 0
    head, row, warning = done.stdout.splitlines()
    assert head.split() == ["NAME", "ADDRESS", "PORT", "TAGS", "CHECK", "ID"]
    assert row.split() == [
        "my-web-server", "<pod-ip>", "80", "-", "http://<pod-ip>:80/features", "every", "10s",
        "<cluster-name>:shop/web:80",
    ]  # fmt: skip
    assert head.index("PORT") == row.index("80")
    assert warning.startswith("warning: Pod shop/web: CheckNotRun")


MISPLACED = """
    kind: Deployment
    metadata: {name: web, annotations: {SERVICE_80_NAME: a}, labels: {SERVICE_TAGS: a}}
    spec:
      template:
        metadata: {labels: {SERVICE_ID: a}}
        spec:
          containers:
            - {image: web, env: [{name: SERVICE_NAME}, {name: A}], ports: [{containerPort: 80}]}
            - {image: web, env: [{name: SERVICE_NAME}]}
"""


def test_keys_that_stand_where_nothing_reads_them_are_told_with_the_place_where_they_count(run):
    done = run(MISPLACED)
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    begin, end = "warning: Deployment shop/web: KeyUnused: ", "spec.template.metadata.annotations"
    said = done.stderr.replace("Deployment default/", "Deployment shop/").splitlines()
    assert [
        line.removeprefix(begin).partition(" registers nothing; write it to ") for line in said
    ] == [
        (what, " registers nothing; write it to ", end)
        for what in (
            "SERVICE_80_NAME: an annotation of the Deployment itself",
            "SERVICE_TAGS: a label of the Deployment itself",
            "SERVICE_ID: a label",
            "SERVICE_NAME: a variable of a container",
        )
    ]
    bare = run("{kind: Pod, metadata: {name: web, labels: {SERVICE_NAME: a}}}", options=())
    assert bare.stdout.endswith(
        "SERVICE_NAME: a label registers nothing; write it to metadata.annotations\n"
    )
    cron = run("{kind: CronJob, metadata: {name: web, annotations: {SERVICE_NAME: a}}}")
    assert "write it to spec.jobTemplate.spec.template.metadata.annotations" in cron.stderr


def test_keys_that_stand_elsewhere_too_are_the_applications_own(run):
    annotated = "metadata: {annotations: {SERVICE_80_NAME: a, SERVICE_TAGS: b, SERVICE_ID: c}, "
    done = run(MISPLACED.replace("metadata: {labels: {S", f"{annotated}labels: {{S"))
    assert [item["Name"] for item in json.loads(done.stdout)] == ["a"]
    assert "registers nothing" not in done.stderr


def test_a_refused_port_exits_with_2_and_the_others_are_printed(run):
    annotations = "{SERVICE_80_NAME: 'my web', SERVICE_81_NAME: ok}"
    ports = "[{containerPort: 80}, {containerPort: 81}]"
    made = template(annotations=annotations, ports=ports)
    done = run(manifest("Deployment", f"{{template: {made}}}"))
    assert done.exit_code == 2
    assert [item["Name"] for item in json.loads(done.stdout)] == ["ok"]
    assert "SERVICE_80_NAME: 'my web'" in done.stderr
    assert "port 80 is not registered" in done.stderr


@pytest.mark.parametrize("key", ["SERVICE_NAMESPACE", "SERVICE_80_PARTITION"])
def test_a_namespace_of_consul_enterprise_is_refused_here_as_by_the_operator(run, key):
    done = run(manifest("Deployment", f"{{template: {template(annotations=f'{{{key}: team}}')}}}"))
    assert (done.exit_code, json.loads(done.stdout)) == (2, [])
    assert f"NotSupported: {key}: 'team': everything is registered in the namespace" in done.stderr


def test_every_object_has_the_same_keys_and_what_is_asked_for_beyond_them(run):
    made = template(
        annotations="{SERVICE_NAME: a, SERVICE_81_ENABLE_TAG_OVERRIDE: 'true'}",
        ports="[{containerPort: 80}, {containerPort: 81}]",
    )
    plain, asked = json.loads(run(manifest("Deployment", f"{{template: {made}}}")).stdout)
    assert list(plain) == ["ID", "Name", "Address", "Port", "Tags", "Meta", "Weights", "Check"]
    assert asked.keys() - plain.keys() == {"EnableTagOverride"}
    assert asked["EnableTagOverride"] is True


def test_without_annotations_nothing_is_registered_unless_asked_for(run):
    bare = manifest("Deployment", f"{{template: {template(annotations='{}')}}}")
    assert json.loads(run(bare).stdout) == []
    found = json.loads(run(bare, options=("-o", "json", "--all-pods")).stdout)
    assert [item["Name"] for item in found] == ["web"]


def test_the_operators_settings_apply_and_mode_overrides_them(run, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("{clusterName: east, mode: agent, tags: [k8s], rules: []}")
    done = run(POD, options=("-o", "json", "--settings-file", str(settings)))
    assert done.exit_code == 2
    assert "NotAllowed: service my-web-server: namespace shop may not" in done.stderr
    settings.write_text("{clusterName: east, mode: agent, tags: [k8s]}")
    done = run(POD, options=("-o", "json", "--settings-file", str(settings)))
    assert done.stderr == ""
    [found] = json.loads(done.stdout)
    assert (found["ID"], found["Tags"]) == ("east:shop/web:80", ["k8s"])
    done = run(POD, options=("--settings-file", str(settings), "--mode", "catalog"))
    assert "CheckNotRun" in done.stdout


def test_in_the_operators_pod_its_own_settings_apply(run, tmp_path, monkeypatch):
    settings = tmp_path / "registration.yaml"
    settings.write_text("{clusterName: east, mode: agent, tags: [k8s]}")
    monkeypatch.setenv("CONSUL_NGINX_REGISTRATION_FILE", str(settings))
    done = run(POD)
    assert done.stderr == ""
    [found] = json.loads(done.stdout)
    assert (found["ID"], found["Tags"]) == ("east:shop/web:80", ["k8s"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML: "),
        ("[" * 5000, "not YAML: "),
        ("- a", "\"['a']\": not an object of Kubernetes"),
        ("kind: Service", "no Pod in it, and none of Deployment, "),
        ("", "no Pod in it, and none of Deployment, "),
        ("{kind: 5}", "kind: '5': not a text"),
        ("{kind: Pod, metadata: {name: 'a b'}}", "metadata.name: 'a b': not a name"),
        ("{kind: PodList, items: {}}", "no Pod in it"),
        ("{kind: PodList, items: [5]}", "'5': not an object"),
        (
            "{kind: Pod, metadata: {name: a, annotations: {SERVICE_WEIGHT: 5}}}",
            "Pod default/a: metadata.annotations: SERVICE_WEIGHT: 5: not a text; write it in",
        ),
        ("{kind: Pod, metadata: {name: a}, spec: {containers: 5}}", "Pod default/a: containers"),
        (
            "{kind: Pod, metadata: {name: a}, spec: {containers: [{ports: [{containerPort: 0}]}]}}",
            "Pod default/a: ports: \"{'containerPort': 0}\": a port is from 1 to 65535",
        ),
        ("{kind: Pod, metadata: {name: a, labels: 5}}", "Pod default/a: labels: not an object"),
        (
            "{kind: Pod, metadata: {name: a}, spec: {containers: [{env: 5}]}}",
            "Pod default/a: env: not a list",
        ),
        (
            "{kind: Pod, metadata: {name: a}, spec: {containers: [{env: [5]}]}}",
            "Pod default/a: env: not an object",
        ),
        ("{kind: Deployment, metadata: {name: a}, spec: 5}", "Deployment default/a: spec: not an"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_exits_with_1_and_names_the_reason(run, text, reason):
    done = run(text)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"0.yaml: {reason}" in done.stderr


def test_a_file_that_can_not_be_read_exits_with_1_and_is_named(tmp_path):
    nothing = "no .yaml, .yml, .json in this folder"
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, nothing)):
        done = CliRunner().invoke(main, ["registrations", "-f", str(path)])
        assert done.exit_code == 1
        assert f"{path}: {reason}" in done.stderr


def test_a_folder_is_read_and_what_is_not_a_manifest_in_it_is_not(tmp_path):
    (tmp_path / "pod.yaml").write_text(textwrap.dedent(POD))
    (tmp_path / "service.json").write_text('{"kind": "Service"}')
    (tmp_path / "README.md").write_text("# Not for Kubernetes")
    done = CliRunner().invoke(main, ["registrations", "-o", "json", "-f", str(tmp_path)])
    assert done.exit_code == 0
    assert [item["Name"] for item in json.loads(done.stdout)] == ["my-web-server"]


def test_bytes_that_are_no_text_exit_with_1(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(main, ["registrations", "-f", str(tmp_path / "a.yaml")])
    assert done.exit_code == 1
    assert "a.yaml: 'utf-8' codec can't decode" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pod-ip", "localhost"), "--pod-ip: 'localhost' does not appear to be an IPv4 or IPv6"),
        (("--cluster-name", "A/b"), "--cluster-name: 'A/b' is not a cluster's name"),
        (("--settings-file", "/nowhere"), "--settings-file: /nowhere: [Errno 2]"),
        (("--namespace", "A b"), "metadata.namespace: 'A b': not a name"),
    ],
)
def test_a_bad_option_exits_with_1_and_names_it(run, options, message):
    done = run(POD.replace("      namespace: shop\n", ""), options=options)
    assert done.exit_code == 1
    assert message in done.stderr


def test_what_is_wrong_with_the_options_is_not_taken_for_a_refused_port(run):
    done = run(POD, options=("--mode", "nowhere"))
    assert done.exit_code == 1
    assert "'nowhere' is not one of" in done.stderr


def test_the_tasks_page_shows_what_the_command_prints(repository, tmp_path, monkeypatch):
    page = (repository / "docs" / "tasks.md").read_text()
    _, _, section = page.partition("## Move a compose file's SERVICE_* lines over\n")
    [shown] = re.findall(
        r"```yaml\n(.*?)```.*?```\n\$ consul-nginx (.*?)\n(.*?)```", section, re.S
    )[:1]
    manifest, command, printed = shown
    (tmp_path / "test-server.yaml").write_text(manifest)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, shlex.split(command))
    assert done.exit_code == 0
    assert printed == done.stdout


def test_standard_input_is_read_by_the_real_program():
    done = subprocess.run(
        [f"{sys.prefix}/bin/consul-nginx", "registrations", "-f", "-", "-o", "json"],
        input=textwrap.dedent(POD),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [item["Name"] for item in json.loads(done.stdout)] == ["my-web-server"]
    assert done.stderr.startswith("warning: Pod shop/web: CheckNotRun: ")


def test_standard_input_that_is_no_manifest_is_named():
    done = CliRunner().invoke(main, ["registrations", "-f", "-"], input="a: [")
    assert done.exit_code == 1
    assert "standard input: not YAML" in done.stderr
