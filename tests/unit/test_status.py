"""What people are told: conditions from the pods' own answers."""

from __future__ import annotations

from consul_nginx.kube.status import conditions, service_addresses, without_times
from consul_nginx.model.pods import PodRejection, PodReport
from consul_nginx.model.verdict import Condition, Status, accepted
from consul_nginx.plan.status import data_plane_state, programmed, ready, resolved_of_all


def pod(name="a", *, revision=7, is_ready=True, **more):
    return PodReport(pod=name, ready=is_ready, revision=revision, **more)


def test_programmed_when_every_ready_pod_serves_the_revision_or_a_later_one():
    assert programmed(revision=7, pods=[pod("a", revision=7), pod("b", revision=9)]).is_true


def test_a_pod_that_is_not_ready_does_not_count_against_it():
    assert programmed(revision=7, pods=[pod(), pod("b", revision=None, is_ready=False)]).is_true


def test_pending_counts_the_pods():
    condition = programmed(revision=7, pods=[pod(), pod("b", revision=6)])
    assert (condition.reason, condition.message) == (
        "Pending",
        "1 of 2 ready nginx pods serve it",
    )


def test_a_generation_that_was_not_written_yet_is_pending():
    assert programmed(revision=None, pods=[pod()]).reason == "Pending"


def test_a_refusal_of_the_api_server_is_told_in_its_words():
    condition = programmed(revision=7, pods=[pod()], refusal="quantities must match …")
    assert (condition.status, condition.reason) == (Status.FALSE, "Refused")
    assert "quantities must match" in condition.message


def test_a_rejection_is_told_in_nginx_own_words():
    condition = programmed(revision=7, pods=[pod(revision=6, rejection="test: [emerg] bad")])
    assert condition.reason == "Rejected"
    assert "[emerg] bad" in condition.message


def test_no_ready_pod_says_why():
    condition = programmed(
        revision=7, pods=[pod(is_ready=False, revision=None, problem="nginx: ImagePullBackOff")]
    )
    assert condition.reason == "NoReadyPods"
    assert "ImagePullBackOff" in condition.message


def test_the_data_plane_conforms_when_all_pods_are_there_and_up_to_date():
    assert data_plane_state(desired=2, revision=7, pods=[pod("a"), pod("b")]).conforms
    behind = data_plane_state(desired=2, revision=8, pods=[pod("a", revision=8), pod("b")])
    assert (behind.updated, [item.pod for item in behind.stale]) == (1, ["b"])
    assert not behind.conforms


def test_at_most_20_stale_pods_are_listed():
    pods = [pod(f"p{n}", revision=1) for n in range(50)]
    assert len(data_plane_state(desired=50, revision=7, pods=pods).stale) == 20


def test_ready_gives_the_first_reason_against_it():
    pending = programmed(revision=7, pods=[pod(revision=6)])
    assert ready(accepted=accepted(), programmed=pending).reason == "Pending"


def test_resolved_of_all_is_the_worst():
    def condition(status):
        return Condition(type="ResolvedRefs", status=status, reason=status.value, message="")

    both = [condition(Status.FALSE), condition(Status.UNKNOWN), condition(Status.TRUE)]
    assert resolved_of_all(both).status is Status.UNKNOWN
    assert resolved_of_all([]).is_true


def test_an_unchanged_status_keeps_its_transition_time():
    before = {
        "conditions": [
            {"type": "Accepted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }
    [now] = conditions(verdicts=[accepted()], generation=2, before=before)
    assert now["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert now["observedGeneration"] == 2


def test_status_is_compared_without_times_and_order():
    one = {"conditions": [{"type": "B", "lastTransitionTime": "x"}, {"type": "A"}]}
    two = {"conditions": [{"type": "A"}, {"type": "B", "lastTransitionTime": "y"}]}
    assert without_times(one) == without_times(two)


def test_addresses_are_the_load_balancers_else_the_cluster_ip():
    service = {"spec": {"clusterIP": "10.96.0.9"}, "status": {"loadBalancer": {}}}
    assert service_addresses(service) == ["10.96.0.9"]
    service["status"]["loadBalancer"] = {"ingress": [{"hostname": "lb.example"}]}
    assert service_addresses(service) == ["lb.example"]


def test_a_pod_that_lacks_a_secret_serves_the_rest_and_is_not_up_to_date():
    lacks = PodRejection(hash=None, stage="secret", message="Secret web-tls: it does not exist")
    pods = [pod("a"), pod("b", rejection=lacks)]
    assert programmed(revision=7, pods=pods).is_true
    state = data_plane_state(desired=2, revision=7, pods=pods)
    assert (state.updated, state.conforms) == (1, False)
    assert [(item.pod, item.message) for item in state.stale] == [
        ("b", "secret: Secret web-tls: it does not exist")
    ]
