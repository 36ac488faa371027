"""Hostile text in every field of the resources and in every value of Consul's.

The fields are found by walking the models. What is accepted is rendered, and read back by another
parser: the tree of directives must be that of harmless text.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import crossplane
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consul_nginx.consul.health import parse_instances
from consul_nginx.model.consul import Instance, Observation
from consul_nginx.model.layout import Layout
from consul_nginx.nginx.render import render
from consul_nginx.plan.load_balancer import bound
from consul_nginx.resources.base import Invalid
from consul_nginx.resources.load_balancer import LoadBalancerSpec, parse_load_balancer
from consul_nginx.resources.service_mapping import ServiceMappingSpec, parse_service_mapping
from unit.everything import (
    ENTRY,
    LOAD_BALANCER,
    MAPPINGS,
    Path,
    at,
    declared,
    leaves,
    put,
    texts,
)
from unit.factories import metadata, planned

INSTANCES = parse_instances([ENTRY])
OBJECTS: dict[str, Any] = {"nlb": LOAD_BALANCER, "smap": MAPPINGS}
PLACES = {
    *(f"nlb.{place}" for place in declared(LoadBalancerSpec)),
    *(f"smap.{place}" for place in declared(ServiceMappingSpec)),
}

ATTACKS = (
    "; evil on;", "} evil {", ";} evil {", "\n} evil {", "\r\nevil on;", '"; evil on; "',
    "'; evil;'", '\\"; evil on; \\"', "\\", "\\\\", '"', "'", "{", "}", ";", "#", "# evil", " ",
    "\t", "\n", "\r", "\0", "\x7f", "\x85", "\u2028", "\ufeff", "\u0663", "\u00e9", "$", "$$",
    "$host", "${host}", "${evil", "$evil", "$uri", "$1", "%0d%0aevil: 1", "%", "\\n", "\\r\\nevil",
    "\\t", "${d}", "$d", "../", "..", "/", "//", "*", "~", "~*", "^~", "=", "-", "_", "@evil",
    "unix:/evil",
    "|", "(", ")", "(?:", "[", "]", "[[:alpha:]]", "[.a.]", "a{1000}", "(a+)+$", "{{ evil }}",
    "{% evil %}", "evil", "", "x" * 300, "x" * 5000, "escape=none",
)  # fmt: skip

# Where accepted text decides which servers, locations and headers there are: it may change how many
# there are of each kind. Everywhere else, the tree must be the same.
DECIDING = re.compile(
    r"nlb\.listeners\[\]\.(name|allowedHostnames\[\]|allowedServices\[\])"
    r"|nlb\.(listeners\[\]\.)?allowedNamespaces\.selector\.matchLabels\{\}"
    r"|smap\.(listener|hostnames\[\]|path\.value|loadBalancerRef\.name(space)?)"
    r"|smap\.(request|response)Headers\.(set\[\]\.name|remove\[\])"
    r"|smap\.replacePrefix"
)

SERVER = re.compile(
    r"(\d{1,3}(\.\d{1,3}){3}:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5}"
    r"|unix:/run/consul-nginx/nginx/(unavailable|mirrors)\.sock)"
    r"( (max_fails|max_conns|weight)=\d{1,7}| fail_timeout=\d+m?s| down)*"
)


def place(path: Path) -> str:
    """A place in ``OBJECTS`` as ``declared`` names it."""
    kind, *rest = path if path[0] == "nlb" else (path[0], *path[2:])
    text = str(kind)
    for part in rest:
        if isinstance(part, int):
            text += "[]"
        elif f"{text}{{}}" in PLACES:
            text += "{}"
        else:
            text += f".{part}"
    return text


FOUND: dict[str, list[Path]] = {}
for found in texts(OBJECTS):
    FOUND.setdefault(place(found), []).append(found)


def test_every_field_that_can_hold_text_is_tried():
    assert set(FOUND) == PLACES


def shape(block: list[dict[str, Any]], above: str = "") -> Iterator[tuple[str, int]]:
    """Every directive with those around it, and how many words it has."""
    for item in block:
        # What stands first in a map is no directive, but a value that is compared.
        name = f"{above}/{'entry' if above.endswith(('/map', '/geo')) else item['directive']}"
        if item["directive"] == "server" and "block" not in item:
            assert SERVER.fullmatch(" ".join(item["args"])), item
        else:
            yield name, len(item["args"])
            yield from shape(item.get("block", []), name)


@lru_cache(maxsize=1000)
def directives(text: str) -> Counter[tuple[str, int]] | None:
    """Directives of a file, as another parser reads it; None when it can't."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".conf") as file:
        file.write(text)
        file.flush()
        parsed = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
    return None if parsed["errors"] else Counter(shape(parsed["config"][0]["parsed"]))


def tree(files: Mapping[str, str]) -> Counter[tuple[str, int]] | None:
    """Directives of a bundle, and how often there is each; None when a file can't be read.

    Servers of upstreams, which may come and go, are looked at instead. Authorities are certificates
    and not directives.
    """
    return together(
        tuple(text for name, text in files.items() if not name.startswith("authority-"))
    )


@lru_cache(maxsize=1000)
def together(texts: tuple[str, ...]) -> Counter[tuple[str, int]] | None:
    """Directives of several files; not to be changed, as others get the same."""
    total: Counter[tuple[str, int]] = Counter()
    for text in texts:
        found = directives(text)
        if found is None:
            return None
        total.update(found)
    return total


@lru_cache(maxsize=100)
def harmless_object(name: str) -> Any:
    if name == "nlb":
        return parse_load_balancer({"metadata": metadata("edge"), "spec": LOAD_BALANCER})
    return parse_service_mapping({"metadata": metadata(name), "spec": MAPPINGS[name]})


def parsed_with(path: Path, value: Any) -> tuple[Any, list[Any]] | Invalid:
    """The LoadBalancer and all mappings, one of them with that value."""
    kind, *rest = path
    found = {name: harmless_object(name) for name in ("nlb", *MAPPINGS)}
    if kind == "nlb":
        raw = {"metadata": metadata("edge"), "spec": put(LOAD_BALANCER, tuple(rest), value)}
        found["nlb"] = parse_load_balancer(raw)
    else:
        name, *inside = rest
        raw = {"metadata": metadata(name), "spec": put(MAPPINGS[name], tuple(inside), value)}
        found[name] = parse_service_mapping(raw)
    wrong = next((item for item in found.values() if isinstance(item, Invalid)), None)
    return wrong or (found.pop("nlb"), list(found.values()))


def told(edge: Any, mappings: list[Any], *, instances: tuple[Instance, ...]) -> dict[str, str]:
    """What nginx is told when every service has these instances."""
    ours = [bound(mapping=item, load_balancer=edge) for item in mappings]
    observation = Observation(instances=instances)
    plan = planned(
        load_balancer=edge,
        mappings=ours,
        snapshot={query: observation for item in ours for query in item.queries},
    )
    return dict(render(configuration=plan.configuration, layout=Layout()).files)


@cache
def harmless() -> tuple[dict[str, str], Counter[tuple[str, int]]]:
    edge, *mappings = (harmless_object(name) for name in ("nlb", *MAPPINGS))
    files = told(edge, mappings, instances=INSTANCES)
    found = tree(files)
    assert found is not None
    return files, found


def in_everything(path: Path, value: Any) -> bool:
    """Whether everything with this value is accepted; what nginx is told then does no harm."""
    found = parsed_with(path, value)
    if isinstance(found, Invalid):
        return False
    files = told(*found, instances=INSTANCES)
    before, expected = harmless()
    if files == before:
        return True
    now = tree(files)
    assert now is not None
    if DECIDING.fullmatch(place(path)):
        # Fewer or more of what there is anyway.
        assert set(now) <= set(expected)
        assert now.total() <= 1.2 * expected.total()
    else:
        assert now == expected
    return True


def test_the_harmless_ones_are_accepted_and_reach_nginx():
    files, expected = harmless()
    listeners, upstreams, certificates, authorities, users, others = 7, 7, 1, 2, 1, 5
    assert len(files) == listeners + upstreams + certificates + authorities + users + others
    assert expected["/server/location/proxy_set_header", 2] > 0


@pytest.mark.parametrize("attack", ["; evil on;", "} evil {", "{", " evil", "# evil"])
def test_a_text_that_got_out_of_its_place_would_be_seen(attack):
    """The check itself: somebody forgets the quotes."""
    files, expected = harmless()
    name = next(name for name in files if '"DENY"' in files[name])
    torn = {**files, name: files[name].replace('"DENY"', f"DENY{attack}")}
    assert tree(torn) != expected


@pytest.mark.parametrize("name", sorted(PLACES))
def test_hostile_text_in_a_field_is_refused_or_taken_literally(name: str):
    first, *others = FOUND[name]
    for attack in ATTACKS:
        for text in (attack, at(OBJECTS, first) + attack, attack + at(OBJECTS, first)):
            in_everything(first, text)
        for path in others:
            in_everything(path, at(OBJECTS, path) + attack)


@pytest.mark.parametrize("name", sorted(place for place in PLACES if place.endswith("{}")))
def test_a_hostile_key_is_refused_or_taken_literally(name: str):
    for path in {path[:-1] for path in FOUND[name]}:
        for attack in ATTACKS:
            in_everything(path, {attack: next(iter(at(OBJECTS, path).values()))})


SPECIAL = st.text(alphabet="ab19.:;{}\"'\\$#%/[]()|*+?-_= \n\r\t\0é", max_size=24)


@settings(max_examples=500)
@given(
    name=st.sampled_from(sorted(PLACES)), text=SPECIAL | st.text(max_size=24), at_end=st.booleans()
)
def test_any_text_in_any_field_is_refused_or_taken_literally(name: str, text: str, at_end: bool):
    path = FOUND[name][0]
    in_everything(path, f"{at(OBJECTS, path)}{text}" if at_end else text)


GOOD = put(put(ENTRY, ("Node", "Node"), "node-2"), ("Service", "Address"), "10.244.2.5")
HOSTILE_VALUES: tuple[Any, ...] = (
    *ATTACKS, *(f"10.244.1.5{attack}" for attack in ATTACKS),
    *(f"fe80::1%{attack}" for attack in ATTACKS),
    *([attack] for attack in ATTACKS), *({attack: attack} for attack in ATTACKS),
    None, True, -1, 0, 1.5, 10**20, [], {},
)  # fmt: skip


@lru_cache(maxsize=1000)
def told_of(instances: tuple[Instance, ...]) -> dict[str, str]:
    """What nginx is told when Consul says that of every service."""
    edge, *mappings = (harmless_object(name) for name in ("nlb", *MAPPINGS))
    return told(edge, mappings, instances=instances)


@pytest.mark.parametrize("path", list(leaves(ENTRY)), ids=lambda path: ".".join(map(str, path)))
def test_no_value_of_consuls_changes_more_than_which_servers_there_are(path: Path):
    _, expected = harmless()
    for value in HOSTILE_VALUES:
        files = told_of(parse_instances([put(ENTRY, path, value), GOOD]))
        assert tree(files) == expected
        assert all("10.244.2.5" in text for name, text in files.items() if "endpoints" in name)
