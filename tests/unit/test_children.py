"""The Kubernetes objects of a LoadBalancer: a golden to read, and what must never change them."""

from __future__ import annotations

import pytest
import yaml

from consul_nginx.kube.children import config_map, data_plane
from consul_nginx.kube.errors import KubeRefused
from consul_nginx.kube.ownership import refuse_foreign
from unit.factories import load_balancer

IMAGE = "registry.example.com/consul-nginx:1"


def objects(**spec):
    return data_plane(load_balancer=load_balancer(**spec), image=IMAGE)


def pod_template(**spec):
    return objects(**spec)[-1]["spec"]["template"]


def test_golden(repository, request):
    path = repository / "tests/unit/golden/data-plane.yaml"
    text = yaml.dump_all(objects(), sort_keys=False, Dumper=_WithoutAliases)
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
    template = pod_template(reload={"shutdownTimeout": 60})
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


def test_an_object_of_somebody_else_is_refused_by_name():
    service = {"kind": "Service", "metadata": {"name": "edge"}}
    with pytest.raises(KubeRefused, match="Service edge exists and does not belong"):
        refuse_foreign(raw=service, load_balancer=load_balancer())


def test_an_object_of_an_earlier_load_balancer_of_the_name_is_taken_over():
    earlier = {**objects()[0]}
    earlier["metadata"]["ownerReferences"][0]["uid"] = "another"
    refuse_foreign(raw=earlier, load_balancer=load_balancer())


def test_every_object_is_owned_without_blocking_its_owners_deletion():
    every = [*objects(), config_map(load_balancer=load_balancer(), data={}, resource_version="7")]
    for body in every:
        [owner] = body["metadata"]["ownerReferences"]
        assert owner["uid"] == "uid-edge"
        assert owner["blockOwnerDeletion"] is False
