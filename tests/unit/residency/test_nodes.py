"""What is read from a Kubernetes Node."""

from __future__ import annotations

from typing import Any

import pytest

from bailiwick.residency.nodes import Node, Taint, read_node
from bailiwick.residency.territories import label_of

WHOLE = {
    "metadata": {"name": "n1", "uid": "u1", "labels": {"a": "b"}},
    "spec": {
        "providerID": "hcloud://1",
        "unschedulable": True,
        "taints": [{"key": "gpu", "effect": "NoSchedule"}, {"key": "team", "value": "x", "effect": "NoExecute"}],
    },
    "status": {
        "nodeInfo": {"machineID": "m1", "systemUUID": "s1", "kubeletVersion": "v1.36.3"},
        "allocatable": {"cpu": "4", "vendor.example/gpu": "2"},
        "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": "True"}],
    },
}


def test_a_whole_node_is_read() -> None:
    assert read_node(WHOLE) == Node(
        name="n1",
        uid="u1",
        provider_id="hcloud://1",
        machine_id="m1",
        system_uuid="s1",
        labels={"a": "b"},
        taints=(Taint("gpu", "", "NoSchedule"), Taint("team", "x", "NoExecute")),
        allocatable={"cpu": "4", "vendor.example/gpu": "2"},
        ready=True,
        cordoned=True,
        virtual="",
    )


def test_the_labels_that_say_who_a_node_is_inside_for_are_not_read() -> None:
    """They follow from the facts: facts that follow from them would be old as soon as they are acted upon."""
    assert read_node({"metadata": {"labels": {label_of("health"): "resident", "a": "b"}}}).labels == {"a": "b"}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"metadata": {}, "spec": {}, "status": {}},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"labels": None}, "spec": {"taints": None}, "status": {"conditions": None, "nodeInfo": None}},
        {"spec": {"taints": [{}]}, "status": {"conditions": [{}]}},
    ],
)
def test_what_is_missing_is_empty(raw: dict[str, Any]) -> None:
    node = read_node(raw)
    assert (node.name, node.provider_id, node.machine_id, node.virtual) == ("", "", "", "")
    assert not node.ready
    assert not node.cordoned


@pytest.mark.parametrize("status", ["False", "Unknown", None, True])
def test_only_a_true_ready_condition_makes_a_node_ready(status: object) -> None:
    assert not read_node({"status": {"conditions": [{"type": "Ready", "status": status}]}}).ready


@pytest.mark.parametrize(
    ("labels", "taints", "kubelet", "sign"),
    [
        ({"type": "virtual-kubelet"}, [], "", "label type=virtual-kubelet"),
        ({"liqo.io/type": "virtual-node"}, [], "", "label liqo.io/type=virtual-node"),
        (
            {"multicluster.admiralty.io/cluster-target-name": "c2"},
            [],
            "",
            "label multicluster.admiralty.io/cluster-target-name",
        ),
        ({"virtual-kubelet.io/provider": "admiralty"}, [], "", "label virtual-kubelet.io/provider"),
        ({"node.kubernetes.io/instance-type": "eklet"}, [], "", "label node.kubernetes.io/instance-type=eklet"),
        ({}, ["virtual-kubelet.io/provider"], "", "taint virtual-kubelet.io/provider"),
        ({}, ["virtual-node.liqo.io/not-allowed"], "", "taint virtual-node.liqo.io/not-allowed"),
        ({"liqo.io/remote-cluster-id": "turin"}, [], "", "label liqo.io/remote-cluster-id"),
        ({"multicluster.admiralty.io/anything": ""}, [], "", "label multicluster.admiralty.io/anything"),
        ({}, ["multicluster.admiralty.io/anything"], "", "taint multicluster.admiralty.io/anything"),
        ({}, ["azure.com/aci"], "", "taint azure.com/aci"),
        ({}, ["virtual-node.interlink/no-schedule"], "", "taint virtual-node.interlink/no-schedule"),
        ({}, ["eks.tke.cloud.tencent.com/eklet"], "", "taint eks.tke.cloud.tencent.com/eklet"),
        ({}, [], "v2.11.0-EKLET", "kubelet version v2.11.0-EKLET"),
        ({}, [], "v1.19.10-vk-azure-aci-1.4.8", "kubelet version v1.19.10-vk-azure-aci-1.4.8"),
    ],
)
def test_a_stand_in_for_another_cluster_is_recognised(
    labels: dict[str, str], taints: list[str], kubelet: str, sign: str
) -> None:
    raw = {
        "metadata": {"labels": labels},
        "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
        "status": {"nodeInfo": {"kubeletVersion": kubelet}},
    }
    assert read_node(raw).virtual == sign


@pytest.mark.parametrize("labels", [{"type": "gpu"}, {"liqo.io/type": "remote"}, {"kubernetes.io/role": "agent"}])
def test_an_ordinary_machine_is_not(labels: dict[str, str]) -> None:
    raw = {"metadata": {"labels": labels}, "status": {"nodeInfo": {"kubeletVersion": "v1.36.3+k3s1"}}}
    assert read_node(raw).virtual == ""
