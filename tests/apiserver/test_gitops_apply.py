"""No field that fights Git: Argo CD and Flux apply chart and samples again and again while the operator works."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bailiwick.residency.territories import GOVERNED_LABEL
from e2e.client import ApiError, documents, eventually
from e2e.cluster.apiserver import ApiServer
from e2e.cluster.places import ROOT
from tests.apiserver.delivery import CRD, MARKS, Delivery, rewritten
from tests.apiserver.operator_process import DIGEST, SYSTEM
from tests.apiserver.realm import CONTROLLERS, OURS, Realm, oci
from tests.apiserver.webhook import standing
from tests.apiserver.worlds import looking
from tests.chart.helm import AS_SERVED
from tests.unit.gitops.judges import kstatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from e2e.client import Client, Manifest
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
SPACE = "clinic"
WEBHOOK = "ValidatingWebhookConfiguration"
CLUSTER = ("--api-versions=bailiwick.dev/v1alpha1/Jurisdiction", AS_SERVED)
"""What Argo CD and Flux tell Helm of the cluster: its kinds, so that nothing is a hook, and its version."""


@dataclass(frozen=True, slots=True)
class World:
    """A cluster that a GitOps controller filled, and the operator in it."""

    realm: Realm
    delivery: Delivery
    chart: Sequence[Manifest]
    space: Sequence[Manifest]
    """A policy, its namespace, and a model."""

    @property
    def client(self) -> Client:
        return self.realm.client

    def settle(self) -> None:
        """Until the operator has done what it will."""
        eventually(lambda: self.realm.stated("Planned", SPACE)[0] == "True", what="the model is planned")
        eventually(lambda: self.realm.children(SPACE)["Deployment"], what="the model has its Deployment")
        self.realm.settled(2.5)


POLICY: Manifest = {
    "apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": "health"},
    "spec": {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": {"allow": ["DE"]}},
}  # fmt: skip
NAMESPACE_OF_MODELS: Manifest = {
    "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": {"data": "health"}},
}  # fmt: skip
MODEL: Manifest = {
    "apiVersion": OURS, "kind": "SovereignModel", "metadata": {"name": "chat", "namespace": SPACE},
    "spec": {"replicas": 2, "model": {"name": "tiny", "source": oci()}},
}  # fmt: skip


@pytest.fixture(scope="module", params=MARKS)
def world(request: pytest.FixtureRequest, helm: Helm) -> Iterator[World]:
    """The chart first, then policy, namespace and model, as waves would bring them."""
    server = ApiServer.start()
    try:
        delivery = Delivery(server.client, request.param)
        server.start_controller_manager(CONTROLLERS)
        realm = Realm(server)
        server.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        chart = rendered(helm)
        deliver(delivery, chart)
        realm.node(FRANKFURT)
        with looking(realm, "gitops"):
            delivery.apply(POLICY)
            delivery.apply(NAMESPACE_OF_MODELS)
            eventually(lambda: realm.marked(SPACE), what="the namespace is governed")
            delivery.apply(MODEL)
            world = World(realm, delivery, chart, (POLICY, NAMESPACE_OF_MODELS, MODEL))
            world.settle()
            yield world
    finally:
        server.stop()


def rendered(helm: Helm) -> list[Manifest]:
    """All that the chart makes. Nobody answers for the webhook here; another test is about its configuration."""
    images = {"image": {"repository": "registry.example/operator", "digest": DIGEST}}
    text = helm.template(*CLUSTER, **images)
    return [each for each in text if each["kind"] != WEBHOOK]


def deliver(delivery: Delivery, manifests: Sequence[Manifest]) -> None:
    """Kinds first, and what is of them when they are served."""
    for manifest in manifests:
        if manifest["kind"] == CRD:
            delivery.apply(manifest)
    for manifest in manifests:
        if manifest["kind"] == CRD:
            eventually(partial(served, delivery, manifest), what=f"{manifest['metadata']['name']} is served")
    for manifest in manifests:
        if manifest["kind"] != CRD:
            delivery.apply(manifest)


def served(delivery: Delivery, crd: Manifest) -> bool:
    conditions = delivery.live(crd).get("status", {}).get("conditions", ())
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def changed_by_a_second_apply(delivery: Delivery, manifests: Sequence[Manifest]) -> list[str]:
    """Objects that got another resourceVersion. Nothing is forced: a field that somebody else took is a conflict."""
    return [name_of(each) for each in manifests if not idle(delivery, each)]


def idle(delivery: Delivery, manifest: Manifest) -> bool:
    """Whether an apply wrote nothing. Somebody may write a status in between, so it is tried thrice."""
    for _ in range(3):
        before = delivery.live(manifest)["metadata"]["resourceVersion"]
        if delivery.apply(manifest, force=False)["metadata"]["resourceVersion"] == before:
            return True
    return False


def test_a_second_apply_of_the_chart_changes_nothing_while_the_operator_works(world: World) -> None:
    assert changed_by_a_second_apply(world.delivery, world.chart) == []


def test_a_second_apply_of_policy_namespace_and_model_changes_nothing(world: World) -> None:
    before = world.realm.everything()
    assert changed_by_a_second_apply(world.delivery, world.space) == []
    world.settle()
    after = world.realm.everything()
    assert {
        key for key in before if key[0] in {"SovereignModel", "Deployment"} and before[key] != after.get(key)
    } == set()


def test_the_cluster_differs_from_git_in_nothing(world: World) -> None:
    everything = [*world.chart, *world.space]
    assert {name_of(each): found for each in everything if (found := world.delivery.drift(each))} == {}


def test_no_value_of_ours_is_rewritten_by_the_server(world: World) -> None:
    """Argo CD without server-side diff compares value by value, and so does whoever reads the diff."""
    ours = [each for each in (*world.chart, *world.space) if each["apiVersion"] == OURS]
    assert len(ours) > len(world.space)
    for each in ours:
        assert rewritten(each, world.delivery.live(each)) == [], name_of(each)


def test_what_the_operator_writes_on_a_namespace_of_git_stays_there(world: World) -> None:
    assert world.realm.marked(SPACE)
    assert GOVERNED_LABEL not in NAMESPACE_OF_MODELS["metadata"]["labels"]
    world.delivery.apply(NAMESPACE_OF_MODELS)
    assert world.realm.marked(SPACE)


def test_children_carry_no_mark_of_the_controller_so_it_does_not_prune_them(world: World) -> None:
    for child in world.realm.children(SPACE).values():
        told = {**child["metadata"].get("labels", {}), **child["metadata"].get("annotations", {})}
        assert not [key for key in told if "argoproj.io" in key or "fluxcd.io" in key]
        assert child["metadata"]["ownerReferences"][0]["kind"] == "SovereignModel"


def test_a_child_that_somebody_edits_comes_back(world: World) -> None:
    def image() -> str:
        spec = world.realm.children(SPACE)["Deployment"]["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])

    asked = image()
    foreign = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "example/foreign"}]}}}}
    world.client.patch("apps/v1", "Deployment", "chat", foreign, SPACE, how="strategic")
    eventually(lambda: image() == asked, what="the operator puts the image back")
    world.settle()
    assert changed_by_a_second_apply(world.delivery, world.space) == []


def test_what_somebody_edits_of_gits_is_as_in_git_after_the_next_apply(world: World) -> None:
    by_hand = {**MODEL, "spec": {"replicas": 5}}
    world.client.apply(by_hand, manager="by-hand")
    eventually(lambda: replicas(world) == 5, what="the operator follows the hand")
    assert world.delivery.drift(MODEL) == {".spec.replicas": 2}
    with pytest.raises(ApiError, match=r'conflict with "by-hand".*\.spec\.replicas'):
        world.delivery.apply(MODEL, force=False)
    world.delivery.apply(MODEL)
    eventually(lambda: replicas(world) == 2, what="the operator follows Git")
    assert world.delivery.drift(MODEL) == {}


def replicas(world: World) -> int:
    return int(world.realm.children(SPACE)["Deployment"]["spec"]["replicas"])


def test_replicas_that_git_leaves_out_are_those_who_scale(world: World) -> None:
    spec = {key: value for key, value in MODEL["spec"].items() if key != "replicas"}
    scaled: Manifest = {**MODEL, "metadata": {"name": "scaled", "namespace": SPACE}, "spec": spec}
    assert world.delivery.apply(scaled)["spec"]["replicas"] == 1
    try:
        world.client.patch(OURS, "SovereignModel", "scaled", {"spec": {"replicas": 3}}, SPACE, subresource="scale")
        assert world.delivery.drift(scaled) == {}
        assert world.delivery.apply(scaled, force=False)["spec"]["replicas"] == 3
    finally:
        world.client.delete(OURS, "SovereignModel", "scaled", SPACE)


def test_a_child_in_git_is_a_conflict_that_names_the_operator(world: World) -> None:
    child: Manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat", "namespace": SPACE},
        "spec": {"replicas": 7},
    }  # fmt: skip
    with pytest.raises(ApiError, match=r'conflict with "bailiwick".*\.spec\.replicas') as refused:
        world.delivery.apply(child, force=False)
    assert refused.value.code == 409


def test_a_mark_of_the_operators_in_git_is_refused_with_a_reason(world: World) -> None:
    forged: Manifest = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SPACE, "labels": {**NAMESPACE_OF_MODELS["metadata"]["labels"], GOVERNED_LABEL: "no"}},
    }  # fmt: skip
    gitops = Delivery(
        world.realm.server.as_user("system:serviceaccount:gitops:applier", ("system:masters",)), world.delivery.manager
    )
    with pytest.raises(ApiError, match="ProtectedLabel"):
        gitops.apply(forged)


SAMPLES = sorted(path for path in (ROOT / "samples").rglob("*.yaml") if ROOT / "samples/gitops" not in path.parents)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(ROOT / "samples")))
def test_a_second_apply_of_a_sample_changes_nothing_and_no_value_is_rewritten(
    client: Client, namespace: str, path: Path
) -> None:
    """On a server without operator and border: it is about the kinds, their defaults, and how values are kept."""
    delivery = Delivery(client, "argocd-controller")
    manifests = list(documents(path))
    assert manifests
    for each in manifests:
        if "namespace" in each["metadata"]:
            each["metadata"]["namespace"] = namespace
        if each["kind"] == "Namespace":
            each["metadata"]["name"] = namespace
        first = delivery.apply(each)
        try:
            assert delivery.drift(each) == {}
            assert each["apiVersion"] != OURS or rewritten(each, first) == []
            assert idle(delivery, each)
        finally:
            if each["kind"] != "Namespace":
                metadata = each["metadata"]
                client.delete(each["apiVersion"], each["kind"], metadata["name"], metadata.get("namespace"))


def test_git_leaves_the_webhooks_certificate_alone(cleared: Realm, helm: Helm) -> None:
    """The webhook itself fills its Secret and says whom the API server trusts; the chart says neither."""
    with standing(cleared, helm) as webhook:
        trusted, kept = webhook.trusted(), webhook.kept()
        assert trusted
        assert kept
        pairs = [(Delivery(webhook.client, manager), webhook.configuration) for manager in MARKS]
        pairs += [(delivery, webhook.rendered["Secret"]) for delivery, _ in pairs]
        for delivery, manifest in pairs:
            delivery.apply(manifest, force=False)
            assert delivery.drift(manifest) == {}
            assert idle(delivery, manifest)
        assert webhook.trusted() == trusted
        assert webhook.kept() == kept


@pytest.mark.parametrize("kind", ["ResidencyPolicy", "SovereignModel"])
def test_a_new_object_is_on_its_way_until_somebody_has_looked(client: Client, namespace: str, kind: str) -> None:
    """The server has no operator: without the default of the status, kstatus would call the object current."""
    model: Manifest = {**MODEL, "metadata": {"name": "chat", "namespace": namespace}}
    manifest = {"ResidencyPolicy": POLICY, "SovereignModel": model}[kind]
    delivery = Delivery(client, "kustomize-controller")
    delivery.apply(manifest)
    try:
        live = delivery.live(manifest)
        assert live["status"] == {"observedGeneration": -1}
        assert kstatus([live]) == ["InProgress"]
        assert idle(delivery, manifest)
        assert delivery.drift(manifest) == {}
    finally:
        client.delete(OURS, kind, manifest["metadata"]["name"], manifest["metadata"].get("namespace"))
