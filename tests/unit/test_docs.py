"""The pages that people write by hand: nothing in them is missing, and nothing is made up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from consul_nginx.cli import main
from consul_nginx.commands.manifests import Manifest
from consul_nginx.commands.pods import pods_in
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import parse_load_balancer
from consul_nginx.resources.policy import parse_policy
from consul_nginx.resources.registration import parse_registration_file
from consul_nginx.resources.service_mapping import ServiceMappingSpec, parse_service_mapping
from unit.factories import load_balancer_raw, mapping_raw, metadata

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/*.md"),
        *REPOSITORY.glob("docs/decisions/*.md"),
    )
)
CODE = REPOSITORY / "operator" / "consul_nginx"
TELLING = ("plan", "loops", "resources", "model")


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def calls() -> Iterator[ast.Call]:
    for folder in TELLING:
        for path in (CODE / folder).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def condition_reasons() -> set[str]:
    """Texts given as ``reason=``, or as the second argument of a function ``condition``.

    Pods have no condition of ours, only Events: what these say is told elsewhere.
    """
    found = set()
    for call in calls():
        if any(ast.unparse(word) == "type='Registered'" for word in call.keywords):
            continue
        given = [word.value for word in call.keywords if word.arg == "reason"]
        if isinstance(call.func, ast.Name) and call.func.id == "condition":
            given.append(call.args[1])
        found |= {node.value for node in given if isinstance(node, ast.Constant)}
    return found


def drop_reasons() -> set[str]:
    """Words in capitals of the module that drops instances: it has no others."""
    tree = ast.parse((CODE / "plan" / "endpoints.py").read_text(encoding="utf-8"))
    texts = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {text for text in texts if re.fullmatch(r"([A-Z]+[a-z]*)+", text)}


def table(title: str) -> dict[str, list[str]]:
    """Rows of the table below a heading of tasks.md, by the first cell's words in backticks."""
    [section] = re.findall(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text_of("docs/tasks.md"), re.M | re.S
    )
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {word: row for row in cells for word in re.findall(r"`(\w+)`", row[0])}


def test_every_reason_of_a_condition_is_explained_with_a_way_out():
    rows = table("What a condition's reason means")
    reasons = condition_reasons()
    assert {"Conflicted", "NoHealthyEndpoints", "Paused", "LoadBalancerNotFound"} <= reasons
    assert rows.keys() == reasons
    assert all(len(row) == 4 and row[2] and row[3] for row in rows.values())


def test_every_reason_to_drop_an_instance_is_explained():
    rows = table("Why an instance is not served")
    assert "Malformed" in drop_reasons()
    assert rows.keys() == drop_reasons()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    folder = (REPOSITORY / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else REPOSITORY / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """Headings as GitHub links to them."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_task_is_in_the_table_of_contents():
    """Once each; that links lead somewhere is another test."""
    contents, *tasks = re.split(r"^## .*\n", text_of("docs/tasks.md"), flags=re.M)
    titles = "\n".join(re.findall(r"^## .*$", text_of("docs/tasks.md"), re.M))
    linked = re.findall(r"\]\(#([^)]+)\)", contents)
    assert len(tasks) == len(linked)
    assert set(linked) == anchors(titles)


def test_nginx_directives_are_said_to_be_fields_that_there_are():
    [section] = re.findall(
        r"^## Move an nginx.conf.*?(?=^## )", text_of("docs/tasks.md"), re.M | re.S
    )
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([\w.\[\]]+)`", row[-1])}
    reference = "".join(
        text_of(f"docs/reference/{kind}.md") for kind in ("servicemapping", "loadbalancer")
    )
    assert "listeners[].tls.mode" in names
    assert {name for name in names if f"| `spec.{name}` |" not in reference} == {"Weights.Passing"}


def test_the_list_of_commands_has_whole_sentences():
    said = CliRunner().invoke(main, ["--help"]).stdout
    *_, commands = said.partition("Commands:\n")
    assert [
        line for line in commands.splitlines() if not re.fullmatch(r"  \w+ .*[a-z]\.", line)
    ] == []
    assert "..." not in commands


def snippets(page: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", text_of(page), re.M | re.S)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, text, id=f"{page}-{number}")
        for page in PAGES
        for number, text in enumerate(snippets(page))
    ],
)
def test_what_the_pages_show_in_yaml_can_be_used(page: str, text: str):
    for raw in yaml.safe_load_all(text):
        parsed = parse(raw)
        assert not isinstance(parsed, Invalid), parsed.problems


def parse(raw: dict[str, Any]) -> Any:
    """A whole object, or a part of one as the pages show them."""
    match raw:
        case {"kind": "Deployment"}:
            return pods_in([Manifest(file="page", raw=raw)], namespace="default")
        case {"kind": "LoadBalancer", "metadata": {"name": name}}:
            return parse_load_balancer({**raw, "metadata": metadata(name)})
        case {"kind": "ServiceMapping", "metadata": {"name": name}}:
            return parse_service_mapping({**raw, "metadata": metadata(name)})
        case {"spec": spec}:
            return parse_load_balancer(load_balancer_raw(**spec))
        case {"listeners": _}:
            return parse_load_balancer(load_balancer_raw(**raw))
        case {"policy": policy}:
            return parse_policy(yaml.safe_dump(policy))
        case {"template": template}:
            pod = {"kind": "Pod", **template, "spec": {"containers": []}}
            pod["metadata"]["name"] = "shown"
            return pods_in([Manifest(file="page", raw=pod)], namespace="default")
        case {"registration": registration}:
            return parse_registration_file(yaml.safe_dump(registration))
        case {"lifecycle": _}:
            return raw
    if raw.keys() <= MAPPING_FIELDS:
        answered = {} if raw.keys() & {"redirect", "fixedResponse"} else mapping_raw()["spec"]
        reference = {"loadBalancerRef": {"name": "edge"}, "listener": "http"}
        spec = {**answered, **reference, **raw}
        return parse_service_mapping({**mapping_raw(), "spec": spec})
    raise AssertionError(f"no test knows what this is: {raw}")


MAPPING_FIELDS = {field.alias for field in ServiceMappingSpec.model_fields.values()}


@pytest.mark.parametrize("page", PAGES)
def test_helm_is_told_of_values_that_there_are(page: str):
    chart = REPOSITORY / "charts" / "consul-nginx-operator"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    for name in re.findall(r"--set[ =]'?([A-Za-z.]+)", text_of(page)):
        found: Any = values
        for part in name.split("."):
            assert isinstance(found, dict), name
            assert part in found, name
            found = found[part]
