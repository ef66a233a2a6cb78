"""Whatever runs in a governed namespace is pinned to the inside (charts/bailiwick/policies/pin.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.client import eventually
from tests.border.ground import IMAGE, Governed, Ground, pod, refused
from tests.in_tree import needs_pin

if TYPE_CHECKING:
    from e2e.client import Manifest

pytestmark = needs_pin


def workload(
    kind: str, namespace: str, name: str, *, node_selector: dict[str, str] | None = None, **spec: Any
) -> Manifest:
    """A workload whose author never heard of Bailiwick."""
    labels = {"app": name}
    inner: dict[str, Any] = pod(namespace)["spec"] | ({"restartPolicy": "Never"} if kind == "Job" else {})
    template = {
        "metadata": {"labels": labels},
        "spec": inner | ({"nodeSelector": node_selector} if node_selector else {}),
    }
    selector = {} if kind == "Job" else {"selector": {"matchLabels": labels}}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template, **selector, **spec},
    }


@pytest.mark.parametrize("kind", ["Job", "StatefulSet", "Deployment", "ReplicaSet", "DaemonSet"])
def test_a_workload_of_any_kind_runs_inside(ground: Ground, health: Governed, kind: str) -> None:
    """With the real controllers and scheduler; its author never heard of Bailiwick."""
    name = f"innocent-{kind.lower()}"
    ground.editor.create(workload(kind, health.namespace, name))

    def its_pods() -> list[Manifest]:
        labels = f"job-name={name}" if kind == "Job" else f"app={name}"
        pods = ground.admin.list("v1", "Pod", health.namespace, labels=labels)
        assert all(pod["spec"].get("nodeName") for pod in pods)
        return pods

    for one in eventually(its_pods, what=f"pods of a {kind}"):
        assert one["spec"]["nodeName"] == health.inside
        assert one["spec"]["nodeSelector"] == health.selector


def test_a_daemon_set_makes_no_pods_for_nodes_abroad(ground: Ground, health: Governed) -> None:
    ground.editor.create(workload("DaemonSet", health.namespace, "everywhere"))

    def desired() -> int:
        seen = ground.admin.get("apps/v1", "DaemonSet", "everywhere", health.namespace)
        assert seen["status"].get("observedGeneration") == 1
        return int(seen["status"]["desiredNumberScheduled"])

    assert eventually(desired, what="the controller has counted nodes") == 1


def test_what_a_pod_selects_already_stays(ground: Ground, health: Governed) -> None:
    own = {"disk": "ssd"}
    made = ground.editor.create(pod(health.namespace, nodeSelector=own), dry_run=True)
    assert made["spec"]["nodeSelector"] == own | health.selector


def test_a_pod_that_is_pinned_already_is_left_as_it_is(ground: Ground, health: Governed) -> None:
    made = ground.editor.create(pod(health.namespace, nodeSelector=health.selector), dry_run=True)
    assert made["spec"]["nodeSelector"] == health.selector


def test_a_contradiction_is_refused_and_not_mended(ground: Ground, health: Governed) -> None:
    """Whoever asks for abroad learns that it is refused, instead of finding the pod elsewhere."""
    with refused("bailiwick-pods", "NotPinned", f"bailiwick-pods.{health.policy}"):
        ground.editor.create(pod(health.namespace, nodeSelector={health.label: "foreign"}), dry_run=True)
    contrary = workload("DaemonSet", health.namespace, "contrary", node_selector={health.label: "foreign"})
    made = ground.editor.create(contrary, dry_run=True)
    assert made["spec"]["template"]["spec"]["nodeSelector"] == {health.label: "foreign"}


def test_pins_of_several_policies_add_up(ground: Ground) -> None:
    one = ground.govern()
    two = ground.govern(namespace=one.namespace)
    three = ground.govern(namespace=one.namespace)
    everything = one.selector | two.selector | three.selector
    made = ground.editor.create(pod(one.namespace, nodeSelector={"disk": "ssd"}), dry_run=True)
    assert made["spec"]["nodeSelector"] == {"disk": "ssd"} | everything
    made = ground.editor.create(workload("DaemonSet", one.namespace, "agent"), dry_run=True)
    assert made["spec"]["template"]["spec"]["nodeSelector"] == everything


def test_a_daemon_set_that_was_there_before_is_pinned_when_it_changes(ground: Ground) -> None:
    namespace = ground.namespace()
    ground.editor.create(workload("DaemonSet", namespace, "agent"))
    governed = ground.govern(namespace=namespace)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": f"{IMAGE}-2"}]}}}}
    made = ground.editor.patch("apps/v1", "DaemonSet", "agent", image, namespace, how="strategic", dry_run=True)
    assert made["spec"]["template"]["spec"]["nodeSelector"] == governed.selector


def test_server_side_apply_twice_changes_nothing_the_second_time(ground: Ground, health: Governed) -> None:
    """GitOps: what is pinned is not fought over."""
    agent = workload("DaemonSet", health.namespace, "applied")
    first = ground.editor.apply(agent, manager="gitops")
    second = ground.editor.apply(agent, manager="gitops")
    assert second["metadata"]["generation"] == first["metadata"]["generation"]
    assert second["spec"]["template"]["spec"]["nodeSelector"] == health.selector


def test_other_templates_are_left_as_they_are(ground: Ground, health: Governed) -> None:
    """Their pods are pinned when they are made; the template stays what its author, or Git, says it is."""
    made = ground.editor.create(workload("Deployment", health.namespace, "app"), dry_run=True)
    assert "nodeSelector" not in made["spec"]["template"]["spec"]


def test_a_namespace_without_a_policy_is_left_alone(ground: Ground, free: str) -> None:
    assert "nodeSelector" not in ground.editor.create(pod(free), dry_run=True)["spec"]
    made = ground.editor.create(workload("DaemonSet", free, "agent"), dry_run=True)
    assert "nodeSelector" not in made["spec"]["template"]["spec"]


def test_losing_the_convenience_opens_nothing(ground: Ground) -> None:
    governed = ground.govern()
    ground.operator.delete(
        "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding", f"bailiwick-pin.{governed.policy}"
    )

    def not_pinned() -> bool:
        with refused("bailiwick-pods", "NotPinned", f"bailiwick-pods.{governed.policy}"):
            ground.editor.create(pod(governed.namespace), dry_run=True)
        return True

    eventually(not_pinned, what="pods are no longer pinned")
