"""Pods as the API server returns them, and as people write them."""

from __future__ import annotations

import pytest

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Container, ContainerPort, Pod
from consul_nginx.registrar.pod import MalformedPodError, parse_pod
from unit.registrar.pods import pod_raw


def test_all_that_registrations_are_made_from_is_read():
    raw = pod_raw(
        annotations={"SERVICE_NAME": "web", "consul-nginx.dev/SERVICE_ID": "a", "other": "b"},
        ports=["8080:80", "53/udp"],
        ips=["10.0.0.1", "fd00::1"],
        controlled=True,
        init_ports=[9000],
    )
    assert parse_pod(raw) == Pod(
        ref=ObjectRef(namespace="shop", name="web-1"),
        uid="uid-1",
        created="2026-11-22T07:00:00Z",
        annotations={"SERVICE_NAME": "web", "consul-nginx.dev/SERVICE_ID": "a"},
        controlled=True,
        containers=(
            Container(
                image="example.com/web:1",
                ports=(
                    ContainerPort(port=80, protocol="TCP", host_port=8080),
                    ContainerPort(port=53, protocol="UDP"),
                ),
            ),
        ),
        host_network=False,
        node="node-a",
        node_ips=("192.168.0.1",),
        ips=("10.0.0.1", "fd00::1"),
        ready=True,
        leaving=False,
    )


def test_a_pod_that_was_only_written_has_neither_status_nor_uid():
    pod = parse_pod({"metadata": {"name": "web"}, "spec": {"containers": [{"image": "web"}]}})
    assert (pod.uid, pod.node, pod.node_ips, pod.ips, pod.ready) == ("", "", (), (), False)


def test_one_address_is_enough():
    raw = pod_raw()
    raw["status"] = {"podIP": "10.0.0.1", "hostIP": "192.168.0.1"}
    assert (parse_pod(raw).ips, parse_pod(raw).node_ips) == (("10.0.0.1",), ("192.168.0.1",))


@pytest.mark.parametrize(
    ("phase", "leaving"), [("Running", False), ("Succeeded", True), ("Failed", True)]
)
def test_a_pod_that_has_ended_is_leaving(phase, leaving):
    raw = pod_raw()
    raw["status"]["phase"] = phase
    assert parse_pod(raw).leaving is leaving
    assert parse_pod(pod_raw(leaving=True)).leaving


def test_an_owner_that_is_no_controller_does_not_count():
    raw = pod_raw(controlled=True)
    raw["metadata"]["ownerReferences"][0]["controller"] = False
    assert not parse_pod(raw).controlled


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"metadata": []}, "metadata: '[]': not of the type dict"),
        (
            {"metadata": {"annotations": {"SERVICE_PORT": 80}}},
            "metadata.annotations: SERVICE_PORT: 80: not a text; write it in quotes",
        ),
        (
            {"metadata": {"annotations": {"SERVICE_A": True, "SERVICE_B": "b", "SERVICE_C": [1]}}},
            "metadata.annotations: SERVICE_A: true, SERVICE_C: '[1]': not texts; write each value",
        ),
        (
            {"metadata": {"annotations": {"SERVICE_WEIGHT": 16**5000}}},
            "metadata.annotations: SERVICE_WEIGHT: a number of thousands of digits: not a text",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": 16**5000}]}]}},
            "ports: 'a number of thousands of digits'",
        ),
        ({"spec": {"containers": {}}}, "containers: '{}': not of the type list"),
        ({"spec": {"containers": ["a"]}}, "containers: \"'a'\": not an object"),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
            "containerPort: \"'80'\"",
        ),
        ({"spec": {"containers": [{"ports": [{"containerPort": 70000}]}]}}, "ports: "),
        ({"spec": {"hostNetwork": "yes"}}, "hostNetwork: \"'yes'\": not of the type bool"),
    ],
)
def test_what_is_no_pod_is_refused_by_field(raw, message):
    with pytest.raises(MalformedPodError) as caught:
        parse_pod(raw)
    assert str(caught.value).startswith(message)
