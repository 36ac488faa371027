"""What a workload says of its pods, and when it stands in for another."""

from __future__ import annotations

import pytest

from consul_nginx.kube.workload import (
    available_pods,
    can_replace,
    lacks_pods,
    refused_pods,
    takes_node_ports,
)

HOST_PORT = {"containers": [{"name": "nginx", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
HOST_NETWORK = {"hostNetwork": True, "containers": [{"name": "nginx"}]}
SERVICE = {"kind": "Service", "spec": {"ports": [{"port": 80}]}}


def deployment(available=2, *, pods=None, **status):
    return {
        "kind": "Deployment",
        "metadata": {"name": "edge", "generation": 3},
        "spec": {"replicas": 2, "template": {"spec": pods or {}}},
        "status": {
            "observedGeneration": 3,
            "updatedReplicas": 2,
            "availableReplicas": available,
            **status,
        },
    }


def daemon_set(available=3, *, desired=3, pods=None, **status):
    return {
        "kind": "DaemonSet",
        "metadata": {"name": "edge", "generation": 1},
        "spec": {"template": {"spec": pods or {}}},
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": desired,
            "updatedNumberScheduled": desired,
            "numberAvailable": available,
            **status,
        },
    }


def test_a_workload_replaces_another_when_all_its_pods_are_available():
    assert can_replace(workload=daemon_set(), superfluous=deployment())
    assert not can_replace(workload=daemon_set(2), superfluous=deployment())
    assert can_replace(workload=deployment(), superfluous=daemon_set())
    assert not can_replace(workload=deployment(1), superfluous=daemon_set())


def test_a_daemon_set_that_is_on_no_node_yet_replaces_nothing():
    assert not can_replace(workload=daemon_set(0, desired=0), superfluous=deployment())


@pytest.mark.parametrize("pods", [HOST_PORT, HOST_NETWORK])
def test_pods_that_need_the_ports_of_the_old_ones_are_not_waited_for(pods):
    old = deployment(pods=pods)
    assert not can_replace(workload=daemon_set(0, pods=pods), superfluous=old)
    assert can_replace(workload=daemon_set(1, pods=pods), superfluous=old)
    assert can_replace(workload=deployment(0, pods=pods), superfluous=daemon_set(pods=pods))


def test_pods_that_take_ports_wait_for_nobody_who_takes_none():
    assert not can_replace(workload=daemon_set(1, pods=HOST_PORT), superfluous=deployment())


def test_a_service_stays_until_all_pods_have_the_new_template():
    old_pods_serve = deployment(2, updatedReplicas=1)
    assert not can_replace(workload=old_pods_serve, superfluous=SERVICE)
    assert can_replace(workload=deployment(), superfluous=SERVICE)


def test_what_a_controller_said_of_an_earlier_generation_does_not_count():
    assert available_pods(deployment(observedGeneration=2)) == 0


def test_ports_of_nodes():
    assert not takes_node_ports(deployment(pods={"containers": [{"ports": [{"name": "a"}]}]}))
    assert takes_node_ports(deployment(pods=HOST_PORT))
    assert takes_node_ports(daemon_set(pods=HOST_NETWORK))


def test_refused_pods_are_told_in_the_same_words_at_each_attempt_with_a_way_out():
    def failing(pod):
        message = f'pods "{pod}" is forbidden: violates PodSecurity "restricted:latest": hostPort'
        failure = {"type": "ReplicaFailure", "status": "True", "message": message}
        return refused_pods(deployment(conditions=[failure]))

    assert failing("edge-6c8d9-abcde") == failing("edge-6c8d9-fghij")
    words = failing("edge-6c8d9-abcde")
    assert words.startswith('Deployment edge: pods "edge-…" is forbidden: violates PodSecurity')
    assert "pod-security.kubernetes.io/enforce=privileged" in words


def test_no_refusal_no_words():
    progressing = {"type": "Progressing", "status": "True", "message": "x"}
    assert refused_pods(deployment(conditions=[progressing])) is None
    assert refused_pods(deployment()) is None


def test_a_daemon_set_lacks_pods_where_it_has_none():
    assert lacks_pods(daemon_set(currentNumberScheduled=2))
    assert not lacks_pods(daemon_set(currentNumberScheduled=3))
