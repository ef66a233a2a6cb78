"""The model loop on a real API server: from models to children, and back after somebody's hand."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from tests.apiserver.operator_process import DIGEST
from tests.apiserver.realm import CHILDREN, ENGINE, OURS, Realm
from tests.in_tree import PINS

if TYPE_CHECKING:
    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"


@pytest.fixture(autouse=True)
def _at_work(operator: OperatorProcess) -> None:
    """The operator works in every test of this module."""


@pytest.fixture
def policy(realm: Realm) -> Policy:
    """A policy with one node inside."""
    node = realm.node(FRANKFURT)
    policy = realm.policy("DE")
    policy.in_force().holds(node)
    return policy


@pytest.fixture
def namespace(realm: Realm, policy: Policy) -> str:
    """A namespace that the policy governs, marked so that models are admitted."""
    name = realm.namespace(policy.selects)
    eventually(lambda: realm.marked(name), what="the namespace is marked")
    return name


def test_a_model_becomes_five_children_that_belong_to_it(realm: Realm, namespace: str, policy: Policy) -> None:
    model = realm.model(namespace)
    children = realm.served(namespace)
    owner = {
        "apiVersion": OURS, "kind": "SovereignModel", "name": "chat", "uid": model["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    for kind, child in children.items():
        assert child["metadata"]["ownerReferences"] == [owner], kind
        assert child["metadata"]["labels"]["bailiwick.dev/model"] == "chat", kind
    pod = children["Deployment"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {policy.label: "resident"}
    assert pod["automountServiceAccountToken"] is False
    copying = [] if PINS else ["copier", "copy"]
    assert [each["name"] for each in pod["initContainers"]] == ["seal", *copying, "gate"]
    assert [each["image"] for each in pod["containers"]] == [ENGINE]
    assert children["ServiceAccount"]["automountServiceAccountToken"] is False
    assert children["Service"]["spec"]["ports"][0]["targetPort"] == 8080
    assert children["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in children["NetworkPolicy"]["spec"]
    status = realm.client.get(OURS, "SovereignModel", "chat", namespace)["status"]
    assert status["policies"] == [policy.name]
    assert status["nodes"]["eligible"] == 1
    assert status["endpoint"] == f"http://chat.{namespace}.svc/v1"
    assert status["plan"]["acceleratorClass"] == "cpu"


def test_status_and_metrics_tell_where_a_replica_runs(
    realm: Realm, operator: OperatorProcess, namespace: str, policy: Policy
) -> None:
    realm.model(namespace)
    realm.served(namespace)
    (node,) = policy.inside()
    (pod,) = eventually(lambda: realm.client.list("v1", "Pod", namespace), what="there is a pod")
    assert pod["spec"]["nodeSelector"] == {policy.label: "resident"}
    binding = {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }  # fmt: skip
    realm.client.create(binding, subresource="binding")
    placed = eventually(lambda: realm.status(namespace)["placements"], what="the status names the node")
    assert [(each["node"], each["jurisdiction"], each["assurance"]) for each in placed] == [(node, "DE", "Asserted")]
    assert realm.status(namespace)["jurisdictions"] == ["DE"]
    where = {"model_namespace": namespace, "replica": pod["metadata"]["name"], "model": "chat", "jurisdiction": "DE"}
    eventually(lambda: operator.labelled("bailiwick_replica_info", **where) == 1, what="the metric")
    assert realm.condition("SovereignModel", "Placed", "chat", namespace)["status"] == "True"
    assert realm.condition("SovereignModel", "Resident", "chat", namespace)["status"] == "True"
    realm.client.patch("v1", "Node", node, {"spec": {"unschedulable": True}})

    def why() -> list[str]:
        return [each["reason"] for each in realm.status(namespace)["nodes"]["ineligible"]]

    eventually(lambda: why() == ["Cordoned"], what="the status says that the node takes no pods")
    # No kubelet ends it, and the namespace waits for it.
    realm.client.delete(OURS, "SovereignModel", "chat", namespace)
    realm.client.delete("v1", "Pod", pod["metadata"]["name"], namespace, grace_seconds=0)


def _edited(path: str, value: Any) -> Any:
    *above, last = path.split(".")
    patch: dict[str, Any] = {last: value}
    for step in reversed(above):
        patch = {step: patch}
    return patch


EDITS = {
    "another engine image": ("Deployment", {"containers": [{"name": "engine", "image": "registry.example/other"}]}),
    "another container": ("Deployment", {"containers": [{"name": "extra", "image": "registry.example/extra"}]}),
    "another variable": (
        "Deployment", {"containers": [{"name": "engine", "env": [{"name": "HTTP_PROXY", "value": "http://abroad"}]}]},
    ),
    "a variable's other value": (
        "Deployment", {"containers": [{"name": "engine", "env": [{"name": "HF_HUB_OFFLINE", "value": "0"}]}]},
    ),
    "a token": ("Deployment", {"automountServiceAccountToken": True}),
    "the host's network": ("Deployment", {"hostNetwork": True}),
    "further labels of nodes": ("Deployment", {"nodeSelector": {"zone": "a"}}),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_pod_template_comes_back(realm: Realm, namespace: str, edit: str) -> None:
    realm.model(namespace)
    before = realm.served(namespace)["Deployment"]["spec"]["template"]
    kind, change = EDITS[edit]
    patch = _edited("spec.template.spec", change)
    edited = realm.client.patch(CHILDREN[kind], kind, "chat", patch, namespace, how="strategic")
    assert edited["spec"]["template"] != before
    eventually(lambda: realm.children(namespace)["Deployment"]["spec"]["template"] == before, what="it comes back")


OPENINGS = {
    "Service": {"externalIPs": ["192.0.2.1"], "type": "NodePort"},
    "NetworkPolicy": {"egress": [{}], "ingress": [{}]},
    "PodDisruptionBudget": {"maxUnavailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
}


@pytest.mark.parametrize("kind", OPENINGS)
def test_what_a_hand_adds_to_a_child_goes(realm: Realm, namespace: str, kind: str) -> None:
    realm.model(namespace)
    before = deepcopy(realm.served(namespace)[kind]["spec"])
    edited = realm.forger.patch(CHILDREN[kind], kind, "chat", {"spec": OPENINGS[kind]}, namespace)
    assert edited["spec"] != before
    eventually(lambda: _plain(realm.children(namespace)[kind]["spec"]) == _plain(before), what="it is as it was")


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if value not in ([], {}, None)}


def test_a_service_account_cannot_be_given_a_token(realm: Realm, namespace: str) -> None:
    realm.model(namespace)
    realm.served(namespace)
    realm.client.patch("v1", "ServiceAccount", "chat", {"automountServiceAccountToken": True}, namespace)
    eventually(
        lambda: realm.children(namespace)["ServiceAccount"]["automountServiceAccountToken"] is False,
        what="it is undone",
    )


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_deleted_child_comes_back(realm: Realm, namespace: str, kind: str) -> None:
    realm.model(namespace)
    before = realm.served(namespace)[kind]["metadata"]["uid"]
    realm.forger.delete(CHILDREN[kind], kind, "chat", namespace)
    eventually(
        lambda: realm.children(namespace).get(kind, {}).get("metadata", {}).get("uid", before) != before,
        what=f"the {kind} comes back",
    )


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_child_that_loses_its_labels_gets_them_back(realm: Realm, namespace: str, kind: str) -> None:
    realm.model(namespace)
    labels = realm.served(namespace)[kind]["metadata"]["labels"]
    realm.forger.patch(CHILDREN[kind], kind, "chat", {"metadata": {"labels": None}}, namespace)
    eventually(lambda: realm.children(namespace)[kind]["metadata"].get("labels") == labels, what="labels are back")


def test_a_model_is_scaled_by_its_scale_subresource(realm: Realm, namespace: str) -> None:
    realm.model(namespace)
    realm.served(namespace)
    scale = realm.client.patch(
        OURS, "SovereignModel", "chat", {"spec": {"replicas": 3}}, namespace, subresource="scale"
    )
    assert scale["status"]["selector"] == "bailiwick.dev/model=chat"
    eventually(lambda: realm.children(namespace)["Deployment"]["spec"]["replicas"] == 3, what="three replicas")
    eventually(
        lambda: realm.client.get(OURS, "SovereignModel", "chat", namespace, subresource="scale")["status"]["replicas"]
        == 3, what="the scale says so",
    )  # fmt: skip
    realm.settled()
    assert realm.client.get(OURS, "SovereignModel", "chat", namespace)["spec"]["replicas"] == 3


def test_the_children_of_a_deleted_model_go(realm: Realm, namespace: str) -> None:
    realm.model(namespace)
    realm.served(namespace)
    realm.client.delete(OURS, "SovereignModel", "chat", namespace)
    eventually(lambda: not realm.children(namespace), what="no child is left")
    eventually(lambda: not realm.client.list("v1", "Pod", namespace), what="no pod is left")


FOREIGN: dict[str, dict[str, Any]] = {
    "Deployment": {
        "spec": {
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "theirs", "image": f"registry.example/a@{DIGEST}"}]},
            },
        }
    },
    "Service": {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 5432}]}},
    "ServiceAccount": {},
    "NetworkPolicy": {"spec": {"podSelector": {"matchLabels": {"app": "theirs"}}}},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "theirs"}}}},
}


@pytest.mark.parametrize("kind", CHILDREN)
def test_what_is_somebody_elses_is_not_taken_over(realm: Realm, namespace: str, kind: str) -> None:
    theirs = realm.client.create(
        {
            "apiVersion": CHILDREN[kind],
            "kind": kind,
            "metadata": {"name": "chat", "namespace": namespace},
            **FOREIGN[kind],
        }
    )
    realm.model(namespace)
    told = eventually(
        lambda: (found := realm.condition("SovereignModel", "Available", "chat", namespace))
        and found["reason"] == "NotWritten" and found, what="the status says what is in the way",
    )  # fmt: skip
    assert f"a {kind} 'chat' that Bailiwick did not make is in the way" in told["message"]
    now = realm.children(namespace)[kind]
    assert "ownerReferences" not in now["metadata"]
    assert now["spec" if "spec" in theirs else "kind"] == theirs["spec" if "spec" in theirs else "kind"]
    realm.forger.delete(CHILDREN[kind], kind, "chat", namespace)


def test_a_model_that_nobody_governs_any_more_keeps_running_and_says_so(
    realm: Realm, namespace: str, policy: Policy
) -> None:
    realm.model(namespace)
    before = {kind: child["metadata"]["uid"] for kind, child in realm.served(namespace).items()}
    policy.delete()
    policy.withdrawn()
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "Ungoverned"), what="the status says so")
    assert realm.stated("Ready", namespace) == ("False", "Ungoverned")
    assert {kind: child["metadata"]["uid"] for kind, child in realm.children(namespace).items()} == before


def test_a_source_that_cannot_be_mounted_is_refused_with_a_remedy(realm: Realm, namespace: str) -> None:
    source = {"s3": {"endpoint": "https://s3.example", "bucket": "models"}}
    realm.model(namespace, model={"name": "tiny", "source": source})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "UnsupportedSource"), what="the status refuses")
    told = realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    assert "name the claim of the namespace that keeps the files in spec.model.source.s3.into" in told
    assert realm.children(namespace) == {}


def test_pods_meet_pod_security_restricted(realm: Realm, policy: Policy) -> None:
    name = realm.namespace({**policy.selects, "pod-security.kubernetes.io/enforce": "restricted"})
    eventually(lambda: realm.model(name, replicas=2), what="the model is admitted")
    realm.served(name)
    eventually(lambda: len(realm.client.list("v1", "Pod", name)) == 2, what="both pods are admitted")
    trouble = realm.client.get("apps/v1", "Deployment", "chat", name)["status"].get("conditions", ())
    assert not [each for each in trouble if each["type"] == "ReplicaFailure"]


def test_pods_that_are_refused_are_told_of_in_the_status(realm: Realm, policy: Policy) -> None:
    name = realm.namespace({**policy.selects, "pod-security.kubernetes.io/enforce": "restricted"})
    source = {"hostPath": {"path": "/srv/models"}}
    eventually(lambda: realm.model(name, model={"name": "tiny", "source": source}), what="the model is admitted")
    eventually(lambda: realm.stated("Ready", name) == ("False", "FailedCreate"), what="the status says why")
    told = realm.condition("SovereignModel", "Ready", "chat", name)["message"]
    assert "pods are refused" in told
    assert "restricted" in told


def test_another_accelerator_class_changes_its_models(realm: Realm, namespace: str) -> None:
    offer = {"name": "vllm", "image": ENGINE, "requests": {"cpu": "1", "memory": "3Gi"}}
    spec = {"engines": [offer]}
    realm.create({"apiVersion": OURS, "kind": "AcceleratorClass", "metadata": {"name": "big"}, "spec": spec})
    realm.model(namespace, accelerators={"classes": ["big"]})
    realm.served(namespace)
    more = {"spec": {"engines": [{**offer, "requests": {"cpu": "2", "memory": "6Gi"}}]}}
    realm.client.patch(OURS, "AcceleratorClass", "big", more)

    def asked() -> Any:
        (engine,) = realm.children(namespace)["Deployment"]["spec"]["template"]["spec"]["containers"]
        return engine["resources"]["requests"]

    eventually(lambda: asked() == {"cpu": "2", "memory": "6Gi"}, what="the pods ask for more")
