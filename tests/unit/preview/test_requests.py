"""What is asked of the API server for a manifest, and what it shows to its policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.schema import KINDS
from bailiwick.cel.values import Unknown
from bailiwick.preview.defaults import shown
from bailiwick.preview.requests import Request, is_of_the_cluster, plural, requests

ROOT = Path(__file__).parents[3]
POD = {"spec": {"containers": [{"name": "main", "image": "a"}]}}


def manifest(api_version: str, kind: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "any"}, **content}


def asked(made: dict[str, Any]) -> list[Request]:
    return list(requests(made, default_namespace="clinic"))


def test_kinds_are_named_as_their_resources() -> None:
    """Those of ours, and one of each ending among those that the policies name."""
    assert {each.__name__: plural(each.__name__) for each in KINDS} == {
        each.__name__: each.presents.plural for each in KINDS
    }
    named = {
        resource.partition("/")[0]
        for file in (ROOT / "charts/bailiwick/policies").glob("*.yaml")
        for policy in yaml.safe_load_all(file.read_text())
        for rule in policy["spec"].get("matchConstraints", {}).get("resourceRules", ())
        for resource in rule["resources"]
    } - {"*"}
    kinds = (
        "Pod", "Service", "Endpoints", "EndpointSlice", "Ingress", "NetworkPolicy", "PersistentVolumeClaim", "Gateway",
        "VirtualService", "HTTPProxy", "IngressRouteTCP", "TCPIngress", "ServiceEntry", "NetworkAttachmentDefinition",
        "ResourceClaimTemplate", "ClusterPropagationPolicy", "RayCluster", "MPIJob", "DaemonSet", "ConfigMap",
        "ValidatingWebhookConfiguration", "APIService", "WaiverApproval", "MultiClusterIngress", "WorkloadEntry",
        "EnvoyFilter", "ServiceResolver", "CiliumEnvoyConfig", "ExternalWorkload", "Mapping", "TransportServer",
    )  # fmt: skip
    assert {plural(kind) for kind in kinds} <= named


def test_objects_of_a_cluster_have_no_namespace() -> None:
    assert {each.__name__: is_of_the_cluster("bailiwick.dev", each.__name__) for each in KINDS} == {
        each.__name__: not each.presents.namespaced for each in KINDS
    }
    (node,) = asked(manifest("v1", "Node"))
    assert node.namespace is None
    assert "namespace" not in node.object["metadata"]
    (binding,) = asked(manifest("v1", "Binding"))
    assert binding.namespace == "clinic"


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "paths"),
    [
        ("apps/v1", "Deployment", {"template": POD}, [("spec", "template")]),
        (
            "batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": POD}}},
            [("spec", "jobTemplate", "spec", "template")],
        ),
        (
            "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet",
            {"leaderWorkerTemplate": {"leaderTemplate": POD, "workerTemplate": POD}},
            [("spec", "leaderWorkerTemplate", "leaderTemplate"), ("spec", "leaderWorkerTemplate", "workerTemplate")],
        ),
        (
            "jobset.x-k8s.io/v1alpha2", "JobSet", {"replicatedJobs": [{"template": {"spec": {"template": POD}}}]},
            [("spec", "replicatedJobs", 0, "template", "spec", "template")],
        ),
        ("kyverno.io/v1", "ClusterPolicy", {"rules": [{"mutate": {"patchStrategicMerge": POD}}]}, []),
        ("v1", "ConfigMap", None, []),
    ],
)  # fmt: skip
def test_pods_of_every_template_are_asked_about(api_version: str, kind: str, spec: Any, paths: list[Any]) -> None:
    whole, *pods = asked(manifest(api_version, kind, spec=spec))
    assert (whole.kind, whole.path) == (kind, ())
    assert [(pod.kind, pod.path) for pod in pods] == [("Pod", path) for path in paths]


def test_claims_that_controllers_make_are_asked_about() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"storageClassName": "abroad"}}
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}
    template = {"spec": {**POD["spec"], "volumes": [volume]}}
    made = asked(manifest("apps/v1", "StatefulSet", spec={"template": template, "volumeClaimTemplates": [claim]}))
    assert [(each.kind, each.object["spec"].get("storageClassName")) for each in made] == [
        ("StatefulSet", None), ("Pod", None), ("PersistentVolumeClaim", "fast"), ("PersistentVolumeClaim", "abroad"),
    ]  # fmt: skip


def test_what_is_empty_is_not_shown_and_what_is_filled_in_is() -> None:
    (pod,) = asked(manifest("v1", "Pod", spec={**POD["spec"], "volumes": [], "nodeName": None, "nodeSelector": {}}))
    assert shown(pod, {})["spec"] == {"schedulerName": "default-scheduler", **POD["spec"]}
    opened = {"to": [], "ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}
    (policy,) = asked(manifest("networking.k8s.io/v1", "NetworkPolicy", spec={"egress": [opened]}))
    assert shown(policy, {})["spec"]["egress"] == [
        {"ports": [{"protocol": "TCP", "port": 1}, {"protocol": "UDP", "port": 2}]}
    ]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [({"StorageClass": "fast"}, "fast"), ({"StorageClass": None}, None)],
    ids=["a default", "no default"],
)
def test_the_default_class_is_filled_in(classes: dict[str, str | None], expected: str | None) -> None:
    (claim,) = asked(manifest("v1", "PersistentVolumeClaim", spec={}))
    assert shown(claim, classes)["spec"].get("storageClassName") == expected
    assert isinstance(shown(claim, {})["spec"]["storageClassName"], Unknown)
    (named,) = asked(manifest("v1", "PersistentVolumeClaim", spec={"storageClassName": ""}))
    assert shown(named, classes)["spec"]["storageClassName"] == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["spec", "template", "containers", "volumes", "ephemeral", "metadata"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["Pod", "Deployment", "StatefulSet", "CronJob", "NetworkPolicy", "Ingress", "Anything"]))
def test_no_shape_makes_it_fail(spec: Any, kind: str) -> None:
    for request in asked(manifest("v1", kind, spec=spec)):
        shown(request, {})
