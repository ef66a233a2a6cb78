"""A pod of a governed namespace is admitted only where the territory is (charts/bailiwick/policies/pods.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.residency.nodes import LABEL_PREFIX
from e2e.client import Client, eventually
from tests.border.ground import Governed, Ground, authored, pod, refused, territory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.client import Manifest

PODS = "bailiwick-pods"


def pods_of(governed: Governed) -> str:
    return f"{PODS}.{governed.policy}"


@pytest.fixture(params=["editor", "lite", "admin"])
def who(request: pytest.FixtureRequest, ground: Ground) -> Client:
    client: Client = getattr(ground, request.param)
    return client


def test_a_pod_that_names_a_foreign_node_is_refused(who: Client, health: Governed) -> None:
    with refused(PODS, "WrongPlace", pods_of(health)) as refusal:
        who.create(pod(health.namespace, nodeName=health.abroad), dry_run=True)
    assert health.abroad in refusal.message
    assert f"territory of policy {health.policy} (nodes: 1)" in refusal.message


def test_a_pod_that_names_a_node_nobody_knows_is_refused(who: Client, health: Governed) -> None:
    with refused(PODS, "WrongPlace", pods_of(health)):
        who.create(pod(health.namespace, nodeName="laptop"), dry_run=True)


def test_a_pod_that_names_a_node_inside_is_admitted(who: Client, health: Governed) -> None:
    made = who.create(authored(pod(health.namespace, nodeName=health.inside), health), dry_run=True)
    assert made["spec"]["nodeName"] == health.inside


@pytest.mark.parametrize("value", ["foreign", "", "Resident"])
def test_a_pod_that_selects_the_outside_is_refused(who: Client, health: Governed, value: str) -> None:
    with refused(PODS, "NotPinned", pods_of(health)) as refusal:
        who.create(pod(health.namespace, nodeSelector={health.label: value}), dry_run=True)
    assert f"wants spec.nodeSelector to contain {health.label}: resident" in refusal.message
    assert f"but it is {{{health.label}: {value}}}" in refusal.message


def test_without_the_convenience_a_pod_must_pin_itself(who: Client, unpinned: Governed) -> None:
    with refused(PODS, "NotPinned", pods_of(unpinned)):
        who.create(pod(unpinned.namespace), dry_run=True)
    with refused(PODS, "NotPinned", pods_of(unpinned)):
        who.create(pod(unpinned.namespace, nodeSelector={"kubernetes.io/os": "linux"}), dry_run=True)
    who.create(pod(unpinned.namespace, nodeSelector=unpinned.selector), dry_run=True)
    who.create(pod(unpinned.namespace, nodeSelector={"kubernetes.io/os": "linux"} | unpinned.selector), dry_run=True)


def test_a_namespace_without_a_policy_is_left_alone(ground: Ground, free: str) -> None:
    ground.editor.create(pod(free, nodeName=ground.abroad), dry_run=True)
    ground.editor.create(pod(free, nodeSelector={LABEL_PREFIX + "health": "foreign"}), dry_run=True)


def affinity(governed: Governed, *, operator: str = "In", values: tuple[str, ...] = ("resident",)) -> dict[str, Any]:
    """Node affinity that mentions the border, and one more term that leads abroad."""
    border: dict[str, Any] = {"key": governed.label, "operator": operator}
    if values:
        border["values"] = list(values)
    abroad = {"key": "kubernetes.io/hostname", "operator": "In", "values": [governed.abroad]}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [border]}, {"matchExpressions": [abroad]}]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "preference": {"matchExpressions": [abroad]}}
            ],
        }
    }


@pytest.mark.parametrize(
    ("operator", "values"),
    [("In", ("resident",)), ("In", ("resident", "foreign")), ("NotIn", ("foreign",)), ("Exists", ())],
)
def test_affinity_is_no_substitute_for_the_node_selector(
    ground: Ground, unpinned: Governed, operator: str, values: tuple[str, ...]
) -> None:
    wanted = affinity(unpinned, operator=operator, values=values)
    with refused(PODS, "NotPinned", pods_of(unpinned)):
        ground.editor.create(pod(unpinned.namespace, affinity=wanted), dry_run=True)


def test_affinity_that_prefers_abroad_runs_inside(ground: Ground, health: Governed) -> None:
    """With a real scheduler: terms are ORed, but the nodeSelector is ANDed with all of them."""
    ground.editor.create(authored(pod(health.namespace, "prefers-abroad", affinity=affinity(health)), health))
    ran_at = eventually(
        lambda: ground.admin.get("v1", "Pod", "prefers-abroad", health.namespace)["spec"].get("nodeName"),
        what="the pod is scheduled",
    )
    assert ran_at == health.inside


def test_affinity_for_abroad_alone_never_runs(ground: Ground, health: Governed) -> None:
    abroad = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [health.abroad]}]
    required = {"nodeSelectorTerms": [{"matchExpressions": abroad}]}
    wanted = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    ground.editor.create(authored(pod(health.namespace, "only-abroad", affinity=wanted), health))

    def unschedulable() -> bool:
        seen = ground.admin.get("v1", "Pod", "only-abroad", health.namespace)
        assert "nodeName" not in seen["spec"]
        return any(condition["reason"] == "Unschedulable" for condition in seen["status"].get("conditions", ()))

    eventually(unschedulable, what="the scheduler gives up")


def test_two_policies_on_one_namespace_must_both_agree(ground: Ground) -> None:
    narrow = ground.govern(pin=False)
    wide = ground.govern(pin=False, namespace=narrow.namespace, nodes={ground.inside: "DE", ground.abroad: "US"})
    both = narrow.selector | wide.selector
    with refused(PODS, "WrongPlace", pods_of(narrow)):
        ground.editor.create(pod(narrow.namespace, nodeName=ground.abroad, nodeSelector=both), dry_run=True)
    with refused(PODS, "NotPinned", pods_of(wide)):
        ground.editor.create(pod(narrow.namespace, nodeSelector=narrow.selector), dry_run=True)
    with refused(PODS, "NotPinned", pods_of(narrow)):
        ground.editor.create(pod(narrow.namespace, nodeSelector=wide.selector), dry_run=True)
    ground.editor.create(pod(narrow.namespace, nodeName=ground.inside, nodeSelector=both), dry_run=True)


def test_a_territory_that_selects_nothing_admits_nothing(ground: Ground) -> None:
    hollow = ground.govern(pin=False, nodeSelector={})
    with refused(PODS, "NotPinned", pods_of(hollow)):
        ground.editor.create(pod(hollow.namespace, nodeName=ground.inside), dry_run=True)
    with refused(PODS, "NotPinned", pods_of(hollow)):
        ground.editor.create(pod(hollow.namespace, nodeSelector={"disk": "fast"}), dry_run=True)


@pytest.fixture(scope="module")
def fallen(ground: Ground) -> Iterator[Governed]:
    """A pod called fallen that was admitted inside, on a node that has left the territory since."""
    governed = ground.govern()
    made = authored(pod(governed.namespace, "fallen", nodeName=governed.inside), governed)
    made["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
    ground.editor.create(made)
    ground.operator.apply(territory(governed, nodes={"elsewhere": "DE"}))

    def outside() -> bool:
        with refused(PODS, "WrongPlace", pods_of(governed)):
            ground.editor.create(pod(governed.namespace, nodeName=governed.inside), dry_run=True)
        return True

    eventually(outside, what="the smaller territory is in force")
    yield governed
    ground.editor.patch("v1", "Pod", "fallen", {"metadata": {"finalizers": None}}, governed.namespace)


def test_a_pod_that_fell_out_loses_its_finalizers(ground: Ground, fallen: Governed) -> None:
    """As the Job controller, or any other, must be able to arrange."""
    finalizers = {"metadata": {"finalizers": ["example.com/two"]}}
    left = ground.editor.patch("v1", "Pod", "fallen", finalizers, fallen.namespace)
    assert left["metadata"]["finalizers"] == ["example.com/two"]


def test_a_pod_that_fell_out_can_be_labelled(ground: Ground, fallen: Governed) -> None:
    ground.editor.patch("v1", "Pod", "fallen", {"metadata": {"labels": {"quarantine": "yes"}}}, fallen.namespace)


def test_a_pod_that_fell_out_reports_its_status(ground: Ground, fallen: Governed) -> None:
    status = {"status": {"message": "still here"}}
    kubelet = ground.kubelet(fallen.inside)
    kubelet.patch("v1", "Pod", "fallen", status, fallen.namespace, subresource="status")


def test_a_pod_that_fell_out_is_judged_when_its_spec_changes(ground: Ground, fallen: Governed) -> None:
    image = {"spec": {"containers": [{"name": "main", "image": "registry.example/other"}]}}
    with refused(PODS, "WrongPlace", pods_of(fallen)):
        ground.editor.patch("v1", "Pod", "fallen", image, fallen.namespace, how="strategic")


def test_a_pod_that_fell_out_can_be_deleted(ground: Ground, fallen: Governed) -> None:
    ground.editor.delete("v1", "Pod", "fallen", fallen.namespace, grace_seconds=0)
    assert ground.admin.get("v1", "Pod", "fallen", fallen.namespace)["metadata"]["deletionTimestamp"]


def test_a_pod_held_back_by_a_gate_is_judged_when_the_gate_opens(ground: Ground) -> None:
    """It was there before the policy, so nobody pinned it."""
    namespace = ground.namespace()
    ground.editor.create(pod(namespace, "gated", schedulingGates=[{"name": "example.com/wait"}]))
    governed = ground.govern(namespace=namespace)
    with refused(PODS, "NotPinned", pods_of(governed)):
        ground.editor.patch("v1", "Pod", "gated", {"spec": {"schedulingGates": None}}, namespace)
    pinned = {"spec": {"schedulingGates": None, "nodeSelector": governed.selector}}
    ground.editor.patch("v1", "Pod", "gated", pinned, namespace, dry_run=True)


def test_a_kubelet_abroad_cannot_show_a_static_pod_in_a_governed_namespace(
    ground: Ground, health: Governed, free: str
) -> None:
    """The static pod itself runs without asking; its mirror is refused, and so is everything it would want to mount."""

    def mirror(namespace: str) -> Manifest:
        made = pod(namespace, nodeName=health.abroad, tolerations=[{"operator": "Exists", "effect": "NoExecute"}])
        made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0", "kubernetes.io/config.source": "file"}
        node = ground.admin.get("v1", "Node", health.abroad)["metadata"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": health.abroad, "uid": node["uid"], "controller": True}
        made["metadata"]["ownerReferences"] = [owner]
        return made

    kubelet = ground.kubelet(health.abroad)
    with refused(PODS, "MirrorPod", pods_of(health)):
        kubelet.create(mirror(health.namespace), dry_run=True)
    kubelet.create(mirror(free), dry_run=True)
