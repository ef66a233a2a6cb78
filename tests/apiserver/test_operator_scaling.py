"""Replicas that follow the load: the real autoscaler of Kubernetes, and KEDA's real kinds, beside the real operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from e2e.cluster.binaries import other_kinds
from tests.apiserver.realm import CONTROLLERS, OURS, model_manifest
from tests.apiserver.worlds import granted_realm, looking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
HPA = ("autoscaling/v2", "HorizontalPodAutoscaler", "chat")
SCALED = ("keda.sh/v1alpha1", "ScaledObject", "chat")
KEDA = "github.com/kedacore/keda/v2/config/crd/bases/keda.sh_scaledobjects.yaml"


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A server with the controller of HorizontalPodAutoscalers, which looks every second, and without KEDA at first."""
    with granted_realm(
        tmp_path_factory.mktemp("helm"),
        controllers=f"{CONTROLLERS},horizontal-pod-autoscaler-controller",
        flags=["--horizontal-pod-autoscaler-sync-period=1s"],
    ) as realm:
        yield realm


@pytest.fixture(scope="module")
def operator(scaling: Realm) -> Iterator[OperatorProcess]:
    with looking(
        scaling,
        "scaling",
        BAILIWICK_PROMETHEUS="http://prometheus.monitoring.svc:9090",
        BAILIWICK_WAKE_QUERY='sum(rate(requests_total{model="$namespace-$model"}[1m]))',
    ) as process:
        yield process


@pytest.fixture
def realm(scaling: Realm, operator: OperatorProcess) -> Iterator[Realm]:
    """What a test makes there goes when the test is over."""
    assert operator.ready()
    yield scaling
    scaling.clear()


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


def replicas(realm: Realm, namespace: str) -> tuple[int, int]:
    """What the model asks for, and what its Deployment asks for."""
    realm.served(namespace)
    model = realm.client.get(OURS, "SovereignModel", "chat", namespace)
    return model["spec"]["replicas"], realm.children(namespace)["Deployment"]["spec"]["replicas"]


def change(realm: Realm, namespace: str, autoscaling: Any) -> None:
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"autoscaling": autoscaling}}, namespace)


def apply(realm: Realm, model: Manifest) -> Manifest:
    """What Argo CD does with a manifest: a server-side apply that takes fields from whoever has them."""
    realm.made.append((OURS, "SovereignModel", "chat", model["metadata"]["namespace"]))
    path = realm.client.path(OURS, "SovereignModel", namespace=model["metadata"]["namespace"], name="chat")
    answer = realm.client.request(
        "PATCH", path, model, params={"fieldManager": "argocd-controller", "force": "true"},
        content_type="application/apply-patch+yaml",
    )  # fmt: skip
    made: Manifest = answer.json()
    return made


def test_the_autoscaler_of_kubernetes_scales_the_model_and_the_operator_follows(realm: Realm, namespace: str) -> None:
    realm.model(namespace, autoscaling={"minReplicas": 3, "maxReplicas": 5})
    eventually(lambda: replicas(realm, namespace) == (3, 3), what="the fewest replicas")
    change(realm, namespace, {"minReplicas": 1, "maxReplicas": 2})
    eventually(lambda: replicas(realm, namespace) == (2, 2), what="the most replicas")
    change(realm, namespace, {"minReplicas": 1, "maxReplicas": 5})
    realm.settled()
    assert replicas(realm, namespace) == (2, 2), "between the bounds nobody moves them"
    owners = realm.client.get(OURS, "SovereignModel", "chat", namespace)["metadata"]["managedFields"]
    (by,) = {each["manager"] for each in owners if each.get("subresource") == "scale"}
    assert by == "kube-controller-manager"
    assert not [each for each in owners if each["manager"] == "bailiwick" and "f:spec" in each["fieldsV1"]]


def test_an_autoscaler_without_figures_is_told_of_with_a_remedy(realm: Realm, namespace: str) -> None:
    realm.model(namespace, autoscaling={"maxReplicas": 5})
    eventually(
        lambda: realm.stated("Autoscaled", namespace) == ("False", "FailedGetPodsMetric"), what="the status says so"
    )
    told = realm.condition("SovereignModel", "Autoscaled", "chat", namespace)["message"]
    assert "custom metrics API" in told
    assert "autoscaling.podsMetric of the chart" in told


def test_an_autoscaler_that_is_edited_is_put_back_and_one_that_is_unwanted_goes(realm: Realm, namespace: str) -> None:
    realm.model(namespace, autoscaling={"maxReplicas": 5})
    realm.served(namespace)
    eventually(lambda: realm.client.find(*HPA, namespace), what="there is an autoscaler")
    realm.forger.patch(*HPA, {"spec": {"maxReplicas": 50}}, namespace)
    eventually(lambda: realm.client.get(*HPA, namespace)["spec"]["maxReplicas"] == 5, what="it is put back")
    before = {kind: each["metadata"]["uid"] for kind, each in realm.served(namespace).items()}
    theirs = {**realm.client.get(*HPA, namespace), "metadata": {
        "name": "theirs", "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "bailiwick", "bailiwick.dev/model": "chat"},
    }}  # fmt: skip
    theirs["spec"]["scaleTargetRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}
    realm.create(theirs)
    change(realm, namespace, None)
    eventually(lambda: realm.client.find(*HPA, namespace) is None, what="it is gone")
    realm.settled()
    assert realm.client.find("autoscaling/v2", "HorizontalPodAutoscaler", "theirs", namespace), "a label is no owner"
    assert {kind: each["metadata"]["uid"] for kind, each in realm.children(namespace).items()} == before
    conditions = realm.status(namespace)["conditions"]
    assert "Autoscaled" not in {each["type"] for each in conditions}


def test_git_that_says_nothing_of_replicas_leaves_them_to_the_autoscaler(realm: Realm, namespace: str) -> None:
    asked = {"minReplicas": 3, "maxReplicas": 5}
    apply(realm, model_manifest(namespace, autoscaling=asked))
    eventually(lambda: replicas(realm, namespace) == (3, 3), what="the fewest replicas")
    assert apply(realm, model_manifest(namespace, autoscaling=asked))["spec"]["replicas"] == 3
    # Git that says it resets it, once for each sync: the autoscaler and Git fight, and the operator only follows.
    assert apply(realm, model_manifest(namespace, autoscaling=asked, replicas=1))["spec"]["replicas"] == 1
    eventually(lambda: replicas(realm, namespace) == (3, 3), what="the autoscaler has it again")
    # Taken out of Git after the autoscaler has it, it stays.
    assert apply(realm, model_manifest(namespace, autoscaling=asked))["spec"]["replicas"] == 3


def test_scaling_to_zero_is_refused_until_keda_is_there_and_then_its_object_is_written(
    realm: Realm, namespace: str
) -> None:
    realm.model(namespace, autoscaling={"minReplicas": 0, "maxReplicas": 3})
    eventually(lambda: realm.stated("Planned", namespace) == ("False", "NotInstalled"), what="the status refuses")
    assert "install KEDA" in realm.condition("SovereignModel", "Planned", "chat", namespace)["message"]
    assert realm.children(namespace) == {}
    realm.server.install_crds(other_kinds(KEDA))
    realm.served(namespace)
    written = eventually(lambda: realm.client.find(*SCALED, namespace) or {}, what="there is a ScaledObject")
    assert written["spec"]["scaleTargetRef"] == {"apiVersion": OURS, "kind": "SovereignModel", "name": "chat"}
    assert written["spec"]["triggers"][2]["metadata"]["query"] == (
        f'sum(rate(requests_total{{model="{namespace}-chat"}}[1m]))'
    )
    assert realm.client.find(*HPA, namespace) is None
    # KEDA scales to zero through the scale subresource, as here.
    realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"replicas": 0}}, namespace, subresource="scale")
    eventually(lambda: replicas(realm, namespace) == (0, 0), what="no replica")
    version = realm.client.get(*SCALED, namespace)["metadata"]["resourceVersion"]
    realm.settled()
    assert replicas(realm, namespace) == (0, 0)
    assert realm.client.get(*SCALED, namespace)["metadata"]["resourceVersion"] == version, "one write was enough"
    # What KEDA says of it is told.
    failed = {"type": "Ready", "status": "False", "reason": "TriggerError", "message": "no answer"}
    realm.client.patch(*SCALED, {"status": {"conditions": [failed]}}, namespace, subresource="status")
    eventually(lambda: realm.stated("Autoscaled", namespace) == ("False", "TriggerError"), what="the status says so")
    # From KEDA to Kubernetes' own: one goes, and the other comes.
    change(realm, namespace, {"minReplicas": 1, "maxReplicas": 3, "scaler": "HorizontalPodAutoscaler"})
    eventually(lambda: realm.client.find(*HPA, namespace), what="there is an autoscaler")
    assert realm.client.find(*SCALED, namespace) is None
