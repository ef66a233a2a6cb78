"""What stores keep of an object."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bailiwick.cluster import trim

Raw = dict[str, Any]

METADATA: Raw = {
    "name": "chat",
    "namespace": "clinic",
    "uid": "1",
    "resourceVersion": "7",
    "labels": {"a": "b"},
    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "team": "red"},
    "managedFields": [],
    "selfLink": "/somewhere",
}
OURS: Raw = {
    "manager": "bailiwick",
    "operation": "Apply",
    "apiVersion": "apps/v1",
    "time": "2026-11-21T00:00:00Z",
    "fieldsType": "FieldsV1",
    "fieldsV1": {
        "f:metadata": {"f:labels": {"f:a": {}}, "f:ownerReferences": {'k:{"uid":"1"}': {}}},
        "f:spec": {"f:replicas": {}},
    },
}


def by(manager: str, fields: Raw, *, operation: str = "Update", subresource: str = "") -> Raw:
    entry = {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields}
    return {**entry, "subresource": subresource} if subresource else entry


def thing(**parts: Any) -> Raw:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": METADATA, **parts}


TRIMS = [trim.whole, trim.child, trim.workload, trim.labelled, trim.node, trim.pod, trim.data]


@pytest.mark.parametrize("cut", TRIMS)
def test_bookkeeping_goes_and_identity_stays(cut: trim.Trim) -> None:
    kept = cut(thing(spec={}, status={}))
    assert kept["metadata"] == {
        "name": "chat",
        "namespace": "clinic",
        "uid": "1",
        "resourceVersion": "7",
        "labels": {"a": "b"},
        "annotations": {"team": "red"},
    }
    assert (kept["apiVersion"], kept["kind"]) == ("apps/v1", "Deployment")


@pytest.mark.parametrize("cut", TRIMS)
def test_the_given_object_stays_as_it_is(cut: trim.Trim) -> None:
    given = thing(spec={"containers": [{"name": "a"}]}, status={"conditions": [{"type": "Ready", "status": "True"}]})
    given["metadata"] = {**METADATA, "managedFields": [OURS]}
    before = copy.deepcopy(given)
    cut(given)
    assert given == before


def test_a_child_keeps_everything_but_its_status() -> None:
    kept = trim.child(thing(spec={"replicas": 1}, status={"replicas": 1}, automountServiceAccountToken=False))
    assert kept["spec"] == {"replicas": 1}
    assert kept["automountServiceAccountToken"] is False
    assert "status" not in kept
    assert trim.workload(thing(status={"replicas": 1}))["status"] == {"replicas": 1}


def test_a_child_keeps_what_we_own_and_who_else_owns_spec() -> None:
    given = thing()
    given["metadata"] = {
        **METADATA,
        "managedFields": [
            OURS,
            by("kubectl-edit", {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}, "f:metadata": {}}),
            by("kube-controller-manager", {"f:status": {"f:replicas": {}}}, subresource="status"),
            by("cloud-controller", {"f:metadata": {"f:finalizers": {}}}),
        ],
    }
    assert trim.child(given)["metadata"]["managedFields"] == [
        {
            "manager": "bailiwick",
            "operation": "Apply",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}}},
        },
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {}}},
    ]


@pytest.mark.parametrize(
    "entry",
    [
        by("horizontal-pod-autoscaler", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        by(
            "kubectl-rollout",
            {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {".": {}, f"f:{trim.RESTARTED}": {}}}}}},
        ),
        by("someone", {"f:metadata": {"f:annotations": {"f:note": {}}}}),
        by("legacy", {}),
    ],
    ids=lambda entry: entry["manager"],
)
def test_these_are_not_edits(entry: Raw) -> None:
    assert trim.owners([entry]) == []


@pytest.mark.parametrize(
    "entry",
    [
        by("kubectl-edit", {"f:spec": {"f:replicas": {}}}),
        by("bailiwick", {"f:spec": {"f:replicas": {}}}),  # in our name, but no apply: ours would not remove it
        by("argocd", {"f:spec": {"f:replicas": {}}}, operation="Apply"),
        by(
            "kubectl-rollout",
            {
                "f:spec": {
                    "f:template": {
                        "f:metadata": {"f:annotations": {f"f:{trim.RESTARTED}": {}}},
                        "f:spec": {"f:hostNetwork": {}},
                    }
                }
            },
        ),
        by(
            "sneaky",
            {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {f"f:{trim.RESTARTED}": {}, "f:other": {}}}}}},
        ),
    ],
    ids=lambda entry: f"{entry['manager']}-{entry['operation']}",
)
def test_these_are_edits(entry: Raw) -> None:
    assert [kept["manager"] for kept in trim.owners([entry])] == [entry["manager"]]


def test_a_heartbeat_of_the_kubelet_changes_nothing_that_is_kept() -> None:
    def beat(time: str, images: int) -> Raw:
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": time}
        pressure = {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": time}
        status = {"conditions": [pressure, ready], "images": ["x"] * images, "allocatable": {"cpu": "8"}}
        return thing(spec={"providerID": "aws:///eu-central-1a/i-1", "podCIDR": "10.0.0.0/24"}, status=status)

    kept = trim.node(beat("1", 1))
    assert kept == trim.node(beat("2", 3))
    assert kept["spec"] == {"providerID": "aws:///eu-central-1a/i-1"}
    assert kept["status"] == {"allocatable": {"cpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}


def test_a_pod_keeps_what_is_judged() -> None:
    container = {"name": "engine", "image": "i", "env": [{"name": "SECRET", "value": "x"}], "resources": {}}
    kept = trim.pod(
        thing(
            spec={"nodeName": "w", "containers": [container], "initContainers": [container], "dnsPolicy": "Default"},
            status={
                "phase": "Running",
                "podIP": "10.0.0.1",
                "hostIP": "1.1.1.1",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}, {"type": "Initialized"}],
            },
        )
    )
    assert kept["spec"] == {
        "nodeName": "w",
        "containers": [{"name": "engine", "image": "i", "resources": {}}],
        "initContainers": [{"name": "engine", "image": "i", "resources": {}}],
    }
    assert kept["status"] == {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
    }


def test_of_a_strangers_pod_only_what_the_audit_judges_is_kept() -> None:
    raw = thing(
        spec={"nodeName": "w", "containers": [{"name": "a", "image": "i"}], "terminationGracePeriodSeconds": 5},
        status={"phase": "Running", "podIP": "10.0.0.1"},
    )
    raw["metadata"]["annotations"] = {"large": "x" * 1000, "bailiwick.dev/violation-since": "now"}
    kept = trim.judged(raw)
    assert kept["spec"] == {"nodeName": "w", "terminationGracePeriodSeconds": 5}
    assert kept["status"] == {"phase": "Running"}
    assert kept["metadata"]["annotations"] == {"bailiwick.dev/violation-since": "now"}
    ours = thing(spec=raw["spec"], status=raw["status"])
    ours["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "bailiwick"}
    assert trim.judged(ours)["spec"]["containers"]
