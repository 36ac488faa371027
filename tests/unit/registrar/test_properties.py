"""What holds whatever somebody writes into annotations."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consul_nginx.model.names import MAX_SERVICE_NAME, SERVICE_NAME, is_tag
from consul_nginx.registrar.durations import nanoseconds
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.registrar.vocabulary import WORDS
from consul_nginx.registrar.wanted import wanted
from consul_nginx.registrar.warnings import MAX_WARNINGS, Reason
from unit.registrar.pods import pod_raw, settings

words = st.sampled_from(sorted(word.upper() for word in WORDS)) | st.text(max_size=12)
scopes = st.sampled_from(["", "80_", "81_", "53_UDP_", "80-81_", "080_", "70000_", "53_tcp_"])
ordinary = [
    "", "true", "false", "web", "a,b", "/health", "10s", "1m30s", "8080", "{}", "passing",
    "$(POD_NAME)", "10.0.0.9",
]  # fmt: skip
hostile = ["$(NOPE)", "fe80::1%x", "\ud800", "9" * 5000, "[" * 4000, "../..", "a\nb", "127.0.0.1"]
values = (
    st.text(max_size=30)
    | st.sampled_from([*ordinary, *hostile])
    | st.builds(lambda text: text * 5000, st.text(min_size=1, max_size=2))
)
keys = st.builds(
    lambda prefix, scope, word: f"{prefix}SERVICE_{scope}{word}",
    st.sampled_from(["", "consul-nginx.dev/"]),
    scopes,
    words,
)
annotations = st.dictionaries(keys, values, max_size=12)
modes = st.sampled_from(["agent", "catalog"])
PORTS = [80, 81, "53/udp", 53]


def asked(annotated, *, mode="agent", ports=PORTS):
    pod = parse_pod(pod_raw(annotations=annotated, ports=ports))
    return wanted(pod=pod, settings=settings(mode=mode, tags=["k8s"]))


@given(annotated=annotations, mode=modes)
@example(annotated={"SERVICE_CHECK_HTTP": "/", "SERVICE_CHECK_HEADER": "[" * 4000}, mode="agent")
@example(annotated={"SERVICE_80_WEIGHT": "٣"}, mode="agent")
@example(annotated={f"SERVICE_{'9' * 5000}_NAME": "web"}, mode="agent")
@example(annotated={f"SERVICE_80-{'9' * 5000}_NAME": "web"}, mode="agent")
@example(annotated={f"SERVICE_META{number}": "x" for number in range(5000)}, mode="agent")
@example(annotated={f"SERVICE_80_META{number}": "x" for number in range(250)}, mode="agent")
@example(annotated={"SERVICE_TAGS": "$(POD_NAME)" * 1000}, mode="agent")
@example(annotated={"SERVICE_NOTE": "ü" * 400}, mode="agent")
def test_nothing_raises_and_all_is_within_consuls_limits(annotated, mode):
    found = asked(annotated, mode=mode)
    ids = [item.content.id for item in found.registrations]
    assert len(set(ids)) == len(ids)
    for item in found.registrations:
        content = item.content
        assert re.fullmatch(r"[A-Za-z0-9._:/@+=~-]+", content.id)
        assert not {"", ".", ".."} & set(content.id.split("/"))
        assert re.fullmatch(SERVICE_NAME, content.name)
        assert len(content.name) <= MAX_SERVICE_NAME
        assert 1 <= content.port <= 65535
        assert 1 <= content.weight <= 65535
        assert all(is_tag(tag) for tag in content.tags)
        assert len(content.meta) <= 64
        for key, value in content.meta.items():
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key)
            assert len(value.encode()) <= 512
        if item.check is not None:
            definition = item.check.definition
            json.dumps(definition).encode()
            assert len({"HTTP", "TCP", "GRPC", "TTL"} & definition.keys()) == 1
            assert all(nanoseconds(definition[k]) for k in ("Interval", "TTL") if k in definition)


@given(annotated=annotations, mode=modes)
def test_what_is_told_is_short_and_on_one_line(annotated, mode):
    told = asked(annotated, mode=mode).warnings
    assert len(told) <= MAX_WARNINGS + 1
    for warning in told:
        assert warning.reason in set(Reason)
        assert warning.message.isprintable()
        assert len(warning.message) < 1000


@given(word=words, value=values, mode=modes, protocol=st.sampled_from(["", "TCP_"]))
def test_a_key_for_one_port_never_changes_what_is_registered_for_others(
    word, value, mode, protocol
):
    base = {"SERVICE_NAME": "web", "SERVICE_TAGS": "a", "SERVICE_CHECK_HTTP": "/", "SERVICE_X": "y"}
    before = asked(base, mode=mode).registrations
    after = asked({**base, f"SERVICE_80_{protocol}{word}": value}, mode=mode).registrations
    assert len(before) == len(PORTS)
    assert after[-3:] == before[-3:]


@given(annotated=annotations, mode=modes, random=st.randoms(use_true_random=False))
def test_the_order_of_annotations_means_nothing(annotated, mode, random):
    shuffled = list(annotated.items())
    random.shuffle(shuffled)
    assert asked(dict(shuffled), mode=mode) == asked(annotated, mode=mode)


@given(annotated=annotations, mode=modes, key=st.sampled_from(["", "80_", "80_TCP_", "79-81_"]))
def test_marks_of_the_owner_are_never_forged(annotated, mode, key):
    forged = {
        f"SERVICE_{key}{mark.upper()}": "other"
        for mark in ("consul_nginx_cluster", "consul_nginx_namespace", "consul_nginx_pod_uid")
    }
    for item in asked({**annotated, **forged}, mode=mode).registrations:
        assert item.owner.cluster == "c1"
        assert item.owner.marks().items() <= item.content.meta.items()
        assert "other" not in item.owner.marks().values()


def test_many_ports_are_bounded():
    found = asked({"SERVICE_NAME": "web"}, ports=range(1, 20001))
    assert len(found.registrations) == 100
    [warning] = found.warnings
    assert warning.reason == "TooManyPorts"
    assert "offers 20000 ports; only the first 100" in warning.message


@pytest.mark.parametrize(
    "annotated",
    [
        {f"SERVICE_{number}_X": "" for number in range(1, 12001)},
        {f"SERVICE_{number}-65535_UDP_X": "" for number in range(1, 12001)},
        {f"SERVICE_{number}-65535_X": "" for number in range(1, 12001)},
        {"SERVICE_TAGS": "," * 250_000},
        {"SERVICE_TAGS": "$(POD_IP)," * 25_000},
        {f"SERVICE_X{number}": "$(POD_IP)" * 100 for number in range(250)},
    ],
    ids=["ports", "other-protocol", "ranges", "commas", "variables-in-tags", "variables-in-meta"],
)
def test_much_of_everything_keeps_the_operator_busy_for_moments_only(annotated):
    """As much as a Pod can hold; once it was half a minute."""
    before = time.process_time()
    asked(annotated, ports=range(20_000, 40_000))
    assert time.process_time() - before < 5
