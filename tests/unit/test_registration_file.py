"""The operator's registration settings file."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network

import pytest

from consul_nginx.model.registration import (
    Address,
    IPFamily,
    Mode,
    RegistrationRule,
    RegistrationSettings,
)
from consul_nginx.resources.registration import (
    File,
    RegistrationFile,
    RegistrationFileError,
    parse_registration_file,
)

WHOLE = """
clusterName: west
mode: agent
explicit: true
address: host
ipFamily: IPv6
tags: [k8s]
esm: true
allowedIPs: [10.0.0.0/8, "fd00::/8"]
rules: [{namespaces: ["team-*"], services: ["*"]}]
allPodsIn: {matchLabels: {register: all}}
agent: {scheme: https, port: 8501}
"""


def test_an_empty_file_means_the_defaults():
    expected = RegistrationFile(
        settings=RegistrationSettings(cluster=""), agent_scheme="http", agent_port=8500
    )
    assert parse_registration_file("") == parse_registration_file("{}") == expected


def test_every_field_is_read():
    assert parse_registration_file(WHOLE) == RegistrationFile(
        settings=RegistrationSettings(
            cluster="west",
            mode=Mode.AGENT,
            explicit=True,
            address=Address.HOST,
            ip_family=IPFamily.IPV6,
            tags=("k8s",),
            esm=True,
            allowed_ips=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
            rules=(RegistrationRule(namespaces=("team-*",), services=("*",)),),
            all_pods_in={"register": "all"},
        ),
        agent_scheme="https",
        agent_port=8501,
    )


def test_every_setting_of_a_registration_has_a_field():
    settings = {field.name for field in fields(RegistrationSettings)}
    assert File.model_fields.keys() == settings - {"cluster"} | {"cluster_name", "agent"}


def test_null_takes_no_restriction():
    found = parse_registration_file("{allowedIPs: null, rules: null, allPodsIn: null}").settings
    assert (found.allowed_ips, found.rules, found.all_pods_in) == (None, None, None)


def test_an_empty_list_allows_nothing():
    found = parse_registration_file("{allowedIPs: [], rules: []}").settings
    assert (found.allowed_ips, found.rules) == ((), ())


def test_a_cluster_that_the_file_does_not_name_gets_an_identity():
    assert parse_registration_file("").settings_of(cluster="uid").cluster == "uid"
    assert parse_registration_file(WHOLE).settings_of(cluster="uid").cluster == "west"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allowedIPs: [10.0.0.1/8]", "allowedIPs[0]: '10.0.0.1/8': not a network such as 10.0.0.0"),
        ("allowedIPs: [5]", "allowedIPs[0]: 5: not a network"),
        ("clusterName: A b", "clusterName: 'A b': String should match pattern"),
        ('clusterName: "a\\n"', "clusterName: 'a\\n': String should match pattern"),
        ("mode: both", "mode: 'both': Input should be 'agent' or 'catalog'"),
        ("ipFamily: v6", "ipFamily: 'v6': Input should be '', 'IPv4' or 'IPv6'"),
        ("esm: 'yes'", "esm: 'yes': Input should be a valid boolean"),
        ('tags: ["a\\nb"]', "tags[0]: 'a\\nb': not a tag"),
        ("rules: [{services: [a]}]", "rules[0].namespaces: not given: this field is required"),
        ("rules: [{namespaces: ['a b'], services: []}]", "rules[0].namespaces[0]: 'a b'"),
        ("allPodsIn: {}", "allPodsIn.matchLabels: not given: this field is required"),
        ("agent: {port: 0}", "agent.port: 0"),
        ("agent: {port: true}", "agent.port: True"),
        ("agent: {scheme: ftp}", "agent.scheme: 'ftp'"),
        ("other: 1", "other: 1: there is no such field; there are: "),
        ("- a", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_field_value_and_reason(text, message):
    with pytest.raises(RegistrationFileError) as caught:
        parse_registration_file(text)
    assert str(caught.value).startswith(message)
