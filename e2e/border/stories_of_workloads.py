"""Workloads that change after they were admitted, or whose controllers decide where their pods go."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from e2e.border.attempts import EDITOR, LABEL, NAMESPACE, passes, pod, pods, thing
from e2e.border.models import IDLE
from e2e.border.stage import Story
from e2e.client import PROMPT
from e2e.demo.attacks import INSIDE, Attempt
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

OUTSIDE = {LABEL: "foreign"}


def workloads() -> Iterable[Story]:
    """Rows 8, 9 and 11."""
    yield Story(8, "an editor of the operator's children", _children)
    yield Story(9, "a suspended Job and a gated pod that change", _suspended)
    yield Story(11, "DaemonSets", _daemon_sets)


def _children(stage: Stage) -> None:
    """He takes the field by force: no pod comes of it, and the operator takes it back."""
    kubectl, name = stage.kubectl, IDLE
    turned = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"nodeSelector": OUTSIDE}}},
    }  # fmt: skip
    by_force = ("apply", "--server-side", "--force-conflicts", f"--field-manager={EDITOR}", "-f", "-")

    def selector() -> dict[str, str]:
        template = kubectl.get("deployment", name, "-n", NAMESPACE).get("spec", {}).get("template", {})
        return dict(template.get("spec", {}).get("nodeSelector", {}))

    ours = wait_until(selector, what="the model has a Deployment")
    begin = time.monotonic()

    def fights() -> bool:
        taken = stage.as_(EDITOR, *by_force, manifest=json.dumps(turned))
        assert taken.accepted, taken.text
        return bool(_refusal("ReplicaSet", stage, begins=name))

    wait_until(fights, what="a pod of the edited template is refused")
    stage.tell("`bailiwick-pods` NotPinned", time.monotonic() - begin)
    begin = time.monotonic()
    wait_until(lambda: selector() == ours, what="the operator takes the template back", seconds=PROMPT, every=0.1)
    stage.tell("the operator, which takes it back", time.monotonic() - begin)
    assert {each["spec"].get("nodeName", INSIDE) for each in _pods(stage, f"bailiwick.dev/model={name}")} == {INSIDE}


def _suspended(stage: Stage) -> None:
    """A template may change while nothing runs; the pods are judged when they come."""
    job = thing("batch/v1", "Job", metadata={"name": "resumed"}, spec={
        "suspend": True, "backoffLimit": 0, "template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}},
    })  # fmt: skip
    turn = {"spec": {"template": {"spec": {"nodeSelector": OUTSIDE}}}}
    with stage.there(job):
        for patch in (turn, {"spec": {"suspend": False}}):
            changed = stage.as_(EDITOR, "patch", "job", "resumed", "-n", NAMESPACE, "-p", json.dumps(patch))
            assert changed.accepted, changed.text
        begin = time.monotonic()
        wait_until(lambda: _refusal("Job", stage, begins="resumed"), what="the Job's pod is refused")
        stage.tell("`bailiwick-pods` NotPinned", time.monotonic() - begin)
        assert not _pods(stage, "batch.kubernetes.io/job-name=resumed")
    gated = pod("gated", schedulingGates=[{"name": "border.example/wait"}])
    everything = [{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}]
    with stage.there(gated):
        change = ("patch", "pod", "gated", "-n", NAMESPACE, "--dry-run=server", "--type")
        tolerates = Attempt(
            name="a gated pod that comes to tolerate everything", who=EDITOR,
            command=(*change, "json", "-p", json.dumps(everything)),
            stopped_by="bailiwick-pods", reason="ForbiddenToleration",
        )  # fmt: skip
        selects = Attempt(
            name="one that comes to select the outside", who=EDITOR,
            command=(*change, "merge", "-p", json.dumps({"spec": {"nodeSelector": OUTSIDE}})),
            stopped_by="spec.nodeSelector", reason="only additions",
        )  # fmt: skip
        stage.refused(tolerates, selects)
        opened = Attempt(
            name="its gate opens", who=EDITOR, stopped_by="", reason="",
            command=(*change, "merge", "-p", json.dumps({"spec": {"schedulingGates": []}})),
        )  # fmt: skip
        stage.passes(opened)


def _daemon_sets(stage: Stage) -> None:
    """One that wants every node, and one that selects what all nodes have, have pods inside and nowhere else."""
    everywhere = {"kubernetes.io/os": "linux"}
    sets = {"plain": {}, "selecting": {"nodeSelector": everywhere}}
    tolerant = {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}
    manifests = [
        thing("apps/v1", "DaemonSet", metadata={"name": name}, spec={
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {**pod()["spec"], **tolerant, **selects}},
        })
        for name, selects in sets.items()
    ]  # fmt: skip
    begin = time.monotonic()
    with stage.there(*manifests):
        for name in sets:

            def settled(name: str = name) -> bool:
                status = stage.kubectl.get("daemonset", name, "-n", NAMESPACE).get("status", {})
                return bool(status.get("desiredNumberScheduled") == status.get("numberReady") == 1)

            wait_until(settled, what=f"DaemonSet {name} has one pod")
            assert {each["spec"]["nodeName"] for each in _pods(stage, f"app={name}")} == {INSIDE}
            stage.tell("`bailiwick-pin`", time.monotonic() - begin)
    outside = pods("a pod of a DaemonSet abroad", "NotPinned", [pod(nodeSelector={**everywhere, **OUTSIDE})])
    stage.refused(*outside)
    stage.passes(passes("a pod that asks for nothing", pod()))


def _pods(stage: Stage, selector: str) -> list[Manifest]:
    return stage.kubectl.items("pods", "-n", NAMESPACE, "-l", selector)


def _refusal(kind: str, stage: Stage, *, begins: str) -> str:
    """What a controller tells of a pod that it could not make; empty while it tells nothing."""
    told: list[dict[str, Any]] = stage.kubectl.items(
        "events", "-n", NAMESPACE, f"--field-selector=reason=FailedCreate,involvedObject.kind={kind}"
    )
    found = (each["message"] for each in told if each["involvedObject"]["name"].startswith(begins))
    return next((text for text in found if "'bailiwick-pods'" in text and "NotPinned: " in text), "")
