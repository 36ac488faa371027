"""``consul-nginx lint``: what the operator would say, before anything is applied."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consul_nginx.cli import main

LOAD_BALANCER = """
    apiVersion: consul-nginx.dev/v1alpha1
    kind: LoadBalancer
    metadata: {name: edge, namespace: shop}
    spec: {listeners: [{name: http, port: 80}]}
"""

# Each list has the one before ten times.
BOMB = "".join(
    f"- &l{number} [{', '.join([f'*l{number - 1}' if number else 'x'] * 10)}]\n"
    for number in range(12)
)


def mapping(name: str = "web", *, meta: str = "namespace: shop", spec: str = "") -> str:
    return f"""
    apiVersion: consul-nginx.dev/v1alpha1
    kind: ServiceMapping
    metadata: {{name: {name}, {meta}}}
    spec:
      loadBalancerRef: {{name: edge, namespace: shop}}
      listener: http
      backends: [{{service: my-web-server}}]
      {spec}
"""


def balancer(spec: str) -> str:
    return LOAD_BALANCER.replace("{listeners: [{name: http, port: 80}]}", spec)


@pytest.fixture
def lint(tmp_path: Path):
    """Lint texts of manifests, each in a file of its own."""

    def run(*texts: str, options: tuple[str, ...] = ("-o", "json")) -> Result:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.yaml").write_text(textwrap.dedent(text))
        files = [f"-f{tmp_path / f'{number}.yaml'}" for number in range(len(texts))]
        return CliRunner().invoke(main, ["lint", *files, *options])

    return run


def reasons(done: Result) -> dict[str, str]:
    return {item["name"]: item["reason"] for item in json.loads(done.stdout)}


def message(done: Result, name: str) -> str:
    return next(item["message"] for item in json.loads(done.stdout) if item["name"] == name)


def test_every_object_gets_its_verdict_in_one_line(lint):
    done = lint(LOAD_BALANCER, mapping(), mapping("api", spec="hostnames: [A.b]"), options=())
    assert done.exit_code == 2
    rows = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    assert rows[0] == ["OBJECT", "ACCEPTED", "REASON", "MESSAGE"]
    assert rows[1] == ["LoadBalancer", "shop/edge", "True", "Accepted", "in use"]
    assert rows[2] == ["ServiceMapping", "shop/web", "True", "Accepted", "in use"]
    assert rows[3][:4] == ["ServiceMapping", "shop/api", "False", "Invalid"]
    assert rows[3][4].startswith("spec.hostnames[0]: 'A.b': ")


def test_as_json_each_object_is_found_by_kind_name_and_file(lint, tmp_path):
    [first, _] = json.loads(lint(LOAD_BALANCER, mapping()).stdout)
    assert first == {
        "kind": "LoadBalancer",
        "namespace": "shop",
        "name": "edge",
        "file": str(tmp_path / "0.yaml"),
        "accepted": True,
        "reason": "Accepted",
        "message": "in use",
    }


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ("hosts: []", "Invalid", "spec.hosts: []: "),
        ("listener: admin", "NoMatchingListener", "spec.listener: 'admin' is not a listener of"),
        (
            "loadBalancerRef: {name: none}",
            "LoadBalancerNotFound",
            "spec.loadBalancerRef.name: namespace shop has no LoadBalancer 'none'; create it",
        ),
    ],
)
def test_a_mapping_is_rejected_in_the_words_of_its_condition(lint, spec, reason, words):
    done = lint(LOAD_BALANCER, mapping(spec=spec))
    assert done.exit_code == 2
    assert reasons(done) == {"edge": "Accepted", "web": reason}
    assert message(done, "web").startswith(words)


def test_mappings_of_a_rejected_load_balancer_wait_for_it(lint):
    broken = mapping("broken", spec="hosts: []")
    done = lint(balancer("{listeners: []}"), mapping(), broken)
    assert reasons(done) == {
        "edge": "Invalid",
        "web": "LoadBalancerRejected",
        "broken": "Invalid",
    }


def test_the_policy_file_is_obeyed(lint, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("mappings: [{namespaces: [shop], hostnames: ['*'], services: [blog]}]")
    own_consul = balancer("{consul: {address: 'http://c'}, listeners: [{name: http, port: 80}]}")
    options = ("-o", "json", "--policy-file", str(policy))
    assert reasons(lint(LOAD_BALANCER, mapping(), options=options))["web"] == "NotPermitted"
    assert reasons(lint(own_consul, options=options)) == {"edge": "ConsulAddressNotAllowed"}


def test_labels_are_those_of_namespace_objects(lint):
    shared = balancer(
        "{listeners: [{name: http, port: 80}], "
        "allowedNamespaces: {from: Selector, selector: {matchLabels: {edge: shared}}}}"
    )
    blog = mapping(meta="namespace: blog")
    labelled = "{kind: Namespace, metadata: {name: blog, labels: {edge: shared}}}"
    assert reasons(lint(shared, blog))["web"] == "NotAllowedByLoadBalancer"
    assert reasons(lint(shared, blog, labelled))["web"] == "Accepted"
    by_name = shared.replace("edge: shared", "kubernetes.io/metadata.name: blog")
    assert reasons(lint(by_name, blog))["web"] == "Accepted"


def test_among_objects_without_a_time_the_name_decides_not_the_order_of_files(lint):
    for order in ((mapping("a"), mapping("b")), (mapping("b"), mapping("a"))):
        done = lint(LOAD_BALANCER, *order)
        assert reasons(done) == {"edge": "Accepted", "a": "Accepted", "b": "Conflicted"}
        assert "older ServiceMapping shop/a" in message(done, "b")


def test_what_the_cluster_has_is_older_than_what_is_not_there_yet(lint):
    there = mapping("z", meta="namespace: shop, creationTimestamp: 2026-11-22T07:00:00Z")
    older = mapping("zz", meta="namespace: shop, creationTimestamp: 2026-11-22T06:59:59Z")
    assert reasons(lint(LOAD_BALANCER, mapping("a"), there, older)) == {
        "edge": "Accepted",
        "a": "Conflicted",
        "z": "Conflicted",
        "zz": "Accepted",
    }


def test_what_is_about_to_be_deleted_is_gone(lint):
    leaving = mapping("a", meta="namespace: shop, deletionTimestamp: 2026-11-22T07:00:00Z")
    assert reasons(lint(LOAD_BALANCER, leaving, mapping("b"))) == {
        "edge": "Accepted",
        "b": "Accepted",
    }


def test_the_namespace_of_objects_that_name_none_can_be_chosen(lint):
    bare = mapping(meta="").replace("namespace: shop", "")
    both = (LOAD_BALANCER.replace(", namespace: shop", ""), bare)
    namespaces = {item["namespace"] for item in json.loads(lint(*both).stdout)}
    assert namespaces == {"default"}
    done = lint(*both, options=("-o", "json", "-n", "blog"))
    assert {item["namespace"] for item in json.loads(done.stdout)} == {"blog"}
    assert done.exit_code == 0


def test_annotations_of_pods_are_linted_too(lint, tmp_path):
    def deployment(name: str, annotations: str) -> str:
        return (
            f"{{kind: Deployment, metadata: {{name: {name}}}, spec: {{template: {{"
            f"metadata: {{annotations: {annotations}}}, "
            "spec: {containers: [{image: a, ports: [{containerPort: 80}]}]}}}}"
        )

    texts = (
        deployment("good", "{SERVICE_80_NAME: shop-web}"),
        deployment("odd", "{SERVICE_80_NAME: web, SERVICE_81_NAME: x}"),
        deployment("bad", "{SERVICE_80_NAME: 'my web'}"),
        "{kind: Job, metadata: {name: lost, namespace: shop, annotations: {SERVICE_NAME: a}}}",
        deployment("bare", "{}"),
    )
    done = lint(*texts)
    assert done.exit_code == 2
    assert reasons(done) == {
        "good": "Accepted",
        "odd": "Accepted",
        "bad": "InvalidValue",
        "lost": "Accepted",
        "bare": "Accepted",
    }
    assert message(done, "good") == "registers shop-web"
    assert message(done, "odd").startswith("registers web; KeyUnused: SERVICE_81_NAME: ")
    assert message(done, "bare") == "registers nothing"
    assert "SERVICE_80_NAME: 'my web'" in message(done, "bad")
    lost = "registers nothing; KeyUnused: SERVICE_NAME: an annotation of the Job itself"
    assert message(done, "lost").startswith(lost)
    settings = tmp_path / "settings"
    settings.write_text("rules: [{namespaces: ['*'], services: ['shop-*']}]")
    done = lint(*texts, options=("-o", "json", "--settings-file", str(settings)))
    assert reasons(done)["odd"] == "NotAllowed"


def test_other_kinds_are_skipped_with_one_line(lint):
    foreign = "{apiVersion: metallb.io/v1, kind: LoadBalancer, metadata: {name: x}}"
    done = lint(LOAD_BALANCER, "{kind: Service}", "{kind: Secret}", "a: {}", foreign)
    assert done.exit_code == 0
    assert reasons(done) == {"edge": "Accepted"}
    assert done.stderr == "skipped: 1 LoadBalancer, 1 Secret, 1 Service, 1 without a kind\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML: "),
        ("a: &a [*b]", "not YAML: "),
        ("&a {kind: List, items: [*a]}", "maximum recursion depth"),
        (BOMB, "more than 1,000,000 values, those behind aliases counted too"),
        ("{kind: Service}", "no LoadBalancer, ServiceMapping or Pod in it"),
        ("{kind: ServiceMapping}", "ServiceMapping: metadata.name is missing"),
        ("{kind: ServiceMapping, metadata: {name: A}}", "ServiceMapping: metadata.name: 'A': not"),
        ("{kind: ServiceMapping, metadata: 5}", "ServiceMapping: metadata: not an object"),
        ("{kind: Namespace, metadata: {name: a, labels: 5}}", "Namespace a: metadata.labels: not"),
        (
            "{apiVersion: consul-nginx.dev/v1, kind: ServiceMapping}",
            "ServiceMapping of consul-nginx.dev/v1: there is no such kind; "
            "consul-nginx.dev/v1alpha1 has LoadBalancer and ServiceMapping",
        ),
        (
            "{apiVersion: consul-nginx.dev/v1alpha1, kind: ServiceMaping}",
            "ServiceMaping of consul-nginx.dev/v1alpha1: there is no such kind",
        ),
        (
            mapping(meta="creationTimestamp: yesterday"),
            "ServiceMapping default/web: metadata.creationTimestamp: 'yesterday': not a time",
        ),
        (f"{mapping()}---{mapping()}", "ServiceMapping shop/web stands in"),
    ],
)
def test_what_is_no_manifest_exits_with_1_and_names_the_file(lint, text, words):
    done = lint(text)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"0.yaml: {words}" in done.stderr


@pytest.mark.parametrize("spec", ["5", "null", "[]", "{1: 2}", "{listener: {a: b}}"])
def test_a_specification_that_is_none_is_a_verdict_on_its_object(lint, spec):
    text = f"{{kind: ServiceMapping, metadata: {{name: odd, namespace: shop}}, spec: {spec}}}"
    done = lint(LOAD_BALANCER, mapping(), text)
    assert done.exit_code == 2
    assert reasons(done) == {"edge": "Accepted", "web": "Accepted", "odd": "Invalid"}


def test_what_is_wrong_with_an_option_is_not_taken_for_a_rejection(lint):
    done = lint(LOAD_BALANCER, options=("--policy-file", "/nowhere"))
    assert done.exit_code == 1
    assert "--policy-file" in done.stderr


def test_the_real_program_reads_standard_input():
    done = subprocess.run(
        [f"{sys.prefix}/bin/consul-nginx", "lint", "-f", "-"],
        input=textwrap.dedent(mapping()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert "LoadBalancerNotFound" in done.stdout


@pytest.mark.parametrize(
    "example",
    [
        "another-consul.yaml",
        "discovery.yaml",
        "every-node.yaml",
        "https.yaml",
        "my-web-server.yaml",
        "own-template.yaml",
        "shared.yaml",
        "shop.yaml",
        "test-server.yaml",
        "who-is-served.yaml",
    ],
)
def test_examples_are_accepted(example, repository, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "consulAddresses: ['https://consul.blog.example.com:8501']\n"
        "templates: [{namespaces: [shop], kvPrefixes: [shop/]}]\n"
    )
    path = str(repository / "examples" / example)
    done = CliRunner().invoke(main, ["lint", "-f", path, "--policy-file", str(policy)])
    assert done.exit_code == 0, done.output


def test_users_that_nginx_could_not_use_are_rejected_by_line_and_others_are_not_looked_at(lint):
    users = """
        kind: Secret
        metadata: {{name: {name}, namespace: shop}}
        stringData: {{auth: "alice:geheim"}}
    """
    done = lint(
        LOAD_BALANCER,
        mapping(spec="basicAuth: {secretRef: {name: admins}}"),
        users.format(name="admins"),
        users.format(name="others"),
    )
    assert done.exit_code == 2
    [rejected] = [item for item in json.loads(done.stdout) if item["kind"] == "Secret"]
    assert rejected["name"] == "admins"
    assert rejected["reason"] == "InvalidSecretRef"
    assert rejected["message"].startswith("auth, line 1: its hash is of a kind that is not taken")
    assert done.stderr == "skipped: 1 Secret\n"
    assert "geheim" not in done.output
