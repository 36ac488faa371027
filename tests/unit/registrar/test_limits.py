"""Limits of Consul and of the operator, to the last piece."""

from __future__ import annotations

import pytest

from consul_nginx.registrar.durations import nanoseconds
from consul_nginx.registrar.pod import parse_pod
from consul_nginx.registrar.wanted import wanted
from unit.registrar.pods import pod_raw, settings


def asked(annotations, *, ports=(80,)):
    pod = parse_pod(pod_raw(annotations=annotations, ports=ports))
    return wanted(pod=pod, settings=settings(mode="agent"))


def reasons(found):
    return [str(warning.reason) for warning in found.warnings]


def test_meta_has_room_for_sixty_pairs_and_the_four_marks():
    found = asked({f"SERVICE_K{number:02}": "v" for number in range(60)})
    assert [len(item.content.meta) for item in found.registrations] == [64]
    assert not found.warnings


def test_pairs_of_meta_over_the_limit_are_dropped_and_named():
    found = asked({f"SERVICE_K{number:02}": "v" for number in range(62)})
    [item] = found.registrations
    assert len(item.content.meta) == 64
    assert item.content.meta.keys().isdisjoint({"k60", "k61"})
    [warning] = found.warnings
    assert warning.message.startswith("SERVICE_K60, SERVICE_K61: Consul takes 64 pairs")


@pytest.mark.parametrize(
    ("value", "kept"),
    [("v" * 512, True), ("v" * 513, False), ("ü" * 256, True), ("ü" * 257, False)],
)
def test_a_value_of_meta_has_512_bytes(value, kept):
    found = asked({"SERVICE_NOTE": value})
    assert [("note" in item.content.meta) for item in found.registrations] == [kept]
    assert reasons(found) == ([] if kept else ["MetaDropped"])


def test_more_keys_than_a_port_takes_cost_that_port_and_no_other():
    many = {f"SERVICE_80_K{number}": "v" for number in range(2000)}
    found = asked({**many, "SERVICE_81_NAME": "web"}, ports=(80, 81))
    assert [item.content.name for item in found.registrations] == ["web"]
    assert reasons(found) == ["TooManyKeys"]


def test_twenty_warnings_are_given_those_that_cost_a_registration_first():
    dropped = {f"SERVICE_80_BAD.{number}": "v" for number in range(30)}
    found = asked({**dropped, "SERVICE_81_WEIGHT": "heavy"}, ports=(80, 81))
    assert reasons(found) == ["InvalidValue", *["MetaDropped"] * 19, "MoreWarnings"]
    assert found.warnings[-1].message == "… and 11 more"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        (".5s", 5 * 10**8),
        ("1.h1ns", 3600 * 10**9 + 1),
        ("1µs", 1000),
        ("2562047h47m16.854775807s", 2**63 - 1),
        ("2562047h47m16.854775808s", None),
        ("", None),
        ("10", None),
        ("1 s", None),
        ("-1s", None),
        ("1S", None),
        (".s", None),
        ("٣s", None),
        ("1s\n", None),
        ("1" * 64 + "s", None),
    ],
)
def test_durations_are_read_as_consul_reads_them(text, expected):
    assert nanoseconds(text) == expected
