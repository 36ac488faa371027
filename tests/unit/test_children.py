"""The Kubernetes objects of a LoadBalancer: a golden to read, and what must never change them."""

from __future__ import annotations

import pytest
import yaml

from consul_nginx.kube.children import config_map, data_plane, shard_ref
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.kube.nginx_pod import NginxImage
from consul_nginx.kube.ownership import refuse_foreign
from consul_nginx.model.encoding import Content
from unit.factories import load_balancer
from unit.features import GOLDEN, Feature

IMAGE = NginxImage(name="registry.example.com/consul-nginx:1")


def objects(**spec):
    return data_plane(load_balancer=load_balancer(**spec), image=IMAGE)


def pod_template(**spec):
    return objects(**spec)[-1]["spec"]["template"]


def test_golden(request):
    compare(request, GOLDEN / "data-plane.yaml", objects())


@pytest.mark.parametrize("name", sorted(p.parent.name for p in GOLDEN.glob("*/kubernetes.yaml")))
def test_the_golden_folders_that_are_about_pods(request, name):
    """What differs from data-plane.yaml: how traffic gets to the pods, and what runs them."""
    every = data_plane(load_balancer=Feature.read(name).load_balancer, image=IMAGE)
    told = [item for item in every if item["kind"] in ("Service", "Deployment", "DaemonSet")]
    compare(request, GOLDEN / name / "kubernetes.yaml", told)


def compare(request, path, found):
    text = yaml.dump_all(found, sort_keys=False, Dumper=_WithoutAliases)
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def test_listeners_never_roll_the_pods():
    one = pod_template()
    two = pod_template(listeners=[{"name": "a", "port": 81}, {"name": "b", "port": 82}])
    assert one == two


def test_the_service_follows_the_listeners():
    listeners = [{"name": "a", "port": 81}, {"name": "b", "port": 82}]
    service = next(item for item in objects(listeners=listeners) if item["kind"] == "Service")
    assert [(p["name"], p["port"]) for p in service["spec"]["ports"]] == [("a", 81), ("b", 82)]


def test_the_grace_period_covers_pre_stop_and_the_last_requests():
    template = pod_template(reload={"shutdownTimeout": "1m"})
    assert template["spec"]["terminationGracePeriodSeconds"] == 5 + 60 + 5


def test_only_the_agent_mounts_the_token():
    spec = pod_template()["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    with_token = [
        container["name"]
        for container in containers
        if any(mount["name"] == "api-token" for mount in container["volumeMounts"])
    ]
    assert with_token == ["agent"]
    assert spec["automountServiceAccountToken"] is False


def test_secrets_to_pull_the_image_with_are_named_in_the_pod_only_when_there_are_any():
    private = NginxImage(name=IMAGE.name, pull_secrets=("registry", "mirror"))
    deployment = data_plane(load_balancer=load_balancer(), image=private)[-1]
    spec = deployment["spec"]["template"]["spec"]
    assert spec.pop("imagePullSecrets") == [{"name": "registry"}, {"name": "mirror"}]
    assert spec == pod_template()["spec"]


def test_an_object_of_somebody_else_is_refused_by_name():
    service = {"kind": "Service", "metadata": {"name": "edge"}}
    with pytest.raises(KubeRefused, match="Service edge exists and does not belong"):
        refuse_foreign(raw=service, owner=load_balancer().meta.ref)


def test_an_object_of_an_earlier_load_balancer_of_the_name_is_taken_over():
    earlier = {**objects()[0]}
    earlier["metadata"]["ownerReferences"][0]["uid"] = "another"
    refuse_foreign(raw=earlier, owner=load_balancer().meta.ref)


def test_every_object_is_owned_without_blocking_its_owners_deletion():
    bundle = config_map(
        load_balancer=load_balancer(),
        ref=shard_ref(load_balancer().meta.ref, 1),
        content=Content(),
        resource_version="7",
    )
    every = [*objects(), bundle]
    for body in every:
        [owner] = body["metadata"]["ownerReferences"]
        assert owner["uid"] == "uid-edge"
        assert owner["blockOwnerDeletion"] is False


def kinds(**spec):
    return [item["kind"] for item in objects(**spec)]


def test_a_daemon_set_stands_in_the_place_of_the_deployment():
    assert kinds()[-1] == "Deployment"
    assert kinds(deployment={"kind": "DaemonSet"})[-1] == "DaemonSet"
    assert "Deployment" not in kinds(deployment={"kind": "DaemonSet"})


def test_host_ports_are_the_listeners_and_need_no_service():
    listeners = [
        {"name": "http", "port": 80},
        {"name": "dns", "protocol": "UDP", "port": 53},
    ]
    spec = {"access": "HostPort", "listeners": listeners}
    ports = pod_template(**spec)["spec"]["containers"][0]["ports"]
    assert [(p["hostPort"], p["protocol"]) for p in ports] == [(80, "TCP"), (53, "UDP")]
    assert "Service" not in kinds(**spec)


def test_in_the_nodes_network_nothing_of_it_is_set():
    spec = pod_template(access="HostNetwork")["spec"]
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert "sysctls" not in spec["securityContext"]


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_where_pods_take_ports_of_their_node_the_old_one_goes_first(kind):
    workload = objects(access="HostPort", deployment={"kind": kind})[-1]["spec"]
    strategy = workload.get("strategy") or workload["updateStrategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_labels_of_the_pod_template_can_not_take_the_pods_away_from_their_service():
    labels = {"team": "shop", "consul-nginx.dev/load-balancer": "another"}
    template = pod_template(deployment={"podTemplate": {"labels": labels}})
    assert template["metadata"]["labels"]["team"] == "shop"
    assert template["metadata"]["labels"]["consul-nginx.dev/load-balancer"] == "edge"


def test_scheduling_of_the_pod_template_is_the_pods():
    spec = pod_template(
        deployment={
            "podTemplate": {
                "nodeSelector": {"edge": "yes"},
                "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
                "priorityClassName": "high",
            }
        }
    )["spec"]
    assert spec["nodeSelector"] == {"edge": "yes"}
    assert spec["tolerations"] == [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["priorityClassName"] == "high"
