"""The status of a model, as tables: what is the matter, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.modelstatus import Plan, SovereignModelStatus
from bailiwick.api.resource import Count
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.facts import gather_all
from bailiwick.residency.nodes import read_node
from bailiwick.residency.verdict import ALLOWED, Reason, refuse
from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.plan import WorkloadPlan
from bailiwick.workload.status import Seen, summarise, summarise_unreadable
from bailiwick.workload.troubles import trouble_of
from tests.unit.workload.given import DIGEST, NOW, model, node, statement

if TYPE_CHECKING:
    from datetime import datetime

    from bailiwick.residency.facts import NodeFacts

MANIFEST: dict[str, Any] = {
    "metadata": {"name": "chat", "namespace": "clinic", "uid": "u", "generation": 3},
    "spec": {"replicas": 2, "model": {"name": "tiny", "source": {"oci": {"image": "registry.example/tiny:1"}}}},
}
MODEL = SovereignModel.read(MANIFEST)
PLANNED = WorkloadPlan(
    verdict=ALLOWED,
    policies=("health",),
    plan=Plan(engine="vllm", image="i", accelerator_class="cpu", devices_per_replica=0, nodes_per_replica=1),
    eligibility=Eligibility(nodes=("n",), ineligible=()),
)
NOWHERE = WorkloadPlan(
    verdict=ALLOWED, policies=("health",), plan=PLANNED.plan, eligibility=Eligibility(nodes=(), ineligible=())
)
REFUSED = WorkloadPlan(verdict=refuse(Reason.UNGOVERNED, "nobody governs clinic; ask for a policy"))
UNKNOWN = WorkloadPlan(
    verdict=refuse(Reason.INVALID_POLICY, "policy law cannot be read; correct it"), policies=("health",)
)
OUTSIDE = {"n": refuse(Reason.WRONG_PLACE, "n stands in US")}


def pod(name: str = "a", node: str | None = "n", *, deleted: bool = False, **status: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-11-21T00:00:00Z"} if deleted else {})
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def deployment(ready: int = 2, *, wanted: int = 2, **status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 1, "replicas": wanted, "readyReplicas": ready, "updatedReplicas": wanted}
    return {"metadata": {"generation": 1}, "spec": {"replicas": wanted}, "status": {**counts, **status}}


def node_facts(name: str) -> NodeFacts:
    (facts,) = gather_all([read_node(node(name))], [statement(name)], NOW)
    return facts


FACTS = {"n": node_facts("n")}
CLAIMED = model(model={"name": "tiny", "source": {"persistentVolumeClaim": {"claimName": "weights"}}, "digest": DIGEST})
REFUSES = {"exitCode": 1, "message": "a line before\nFileDiffers: model.safetensors was changed; put it back"}
TAMPERED: Any = {"initContainerStatuses": [{"name": "verify", "state": {"terminated": REFUSES}}]}
CRASHED: Any = {"containerStatuses": [{"name": "engine", "state": {"terminated": {"exitCode": 1}}}]}


def told(
    plan: WorkloadPlan = PLANNED, *, before: Any = None, now: datetime = NOW, of: SovereignModel = MODEL, **seen: Any
) -> dict[str, Any]:
    known: dict[str, Any] = {
        "deployment": deployment(), "pods": [pod("a"), pod("b")], "facts": FACTS, "outside": {}, "failure": None,
    }  # fmt: skip
    manifest = {**MANIFEST, "status": before} if before else MANIFEST
    return summarise(of, plan, Seen(manifest=manifest, **(known | seen)), now=now)


def conditions(status: dict[str, Any]) -> dict[str, Any]:
    return {each["type"]: each for each in status["conditions"]}


STUCK = deployment(1, conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}])

ROWS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # what is seen → an aspect, its reason, and what Ready says
    "all is well": (told(), "Available", "Available", "Serving"),
    "all is well with the place": (told(), "Resident", "Inside", "Serving"),
    "none are wanted": (told(deployment=deployment(0, wanted=0), pods=[]), "Available", "Available", "Serving"),
    "refused": (told(REFUSED), "Planned", "Ungoverned", "Ungoverned"),
    "refused, so nobody says what is inside": (told(REFUSED), "Resident", "Ungoverned", "Ungoverned"),
    "a policy cannot be read": (told(UNKNOWN), "Resident", "InvalidPolicy", "InvalidPolicy"),
    "a pod is outside": (told(outside=OUTSIDE), "Resident", "WrongPlace", "WrongPlace"),
    "a pod that ends is outside": (
        told(outside=OUTSIDE, pods=[pod("a", deleted=True)]), "Resident", "WrongPlace", "WrongPlace",
    ),
    "a pod that is over is not": (
        told(outside=OUTSIDE, pods=[pod("a", phase="Failed")]), "Resident", "NoPods", "Serving",
    ),
    "a node that nobody knows": (told(facts={}), "Resident", "PlaceUnknown", "Serving"),
    "no node": (told(NOWHERE, pods=[pod(node=None)]), "Placed", "NoEligibleNode", "NoEligibleNode"),
    "no room": (told(pods=[pod(node=None)]), "Placed", "Unschedulable", "Unschedulable"),
    "a pod that ends needs no node": (told(pods=[pod(node=None, deleted=True)]), "Placed", "NoPods", "Serving"),
    "not written": (told(failure="409"), "Available", "Available", "NotWritten"),
    "never written": (told(failure="409", deployment=None), "Available", "NotWritten", "NotWritten"),
    "no deployment": (told(deployment=None, pods=[]), "Available", "NoDeployment", "Progressing"),
    "starting": (told(deployment=deployment(1)), "Available", "Progressing", "Progressing"),
    "for too long": (told(deployment=STUCK), "Available", "ProgressDeadlineExceeded", "ProgressDeadlineExceeded"),
    "crashing": (
        told(deployment=deployment(1), pods=[pod(**CRASHED)]), "Available", "CrashLoopBackOff", "CrashLoopBackOff",
    ),
    "an old generation": (told(deployment=deployment(observedGeneration=0)), "Available", "Available", "Progressing"),
    "a rollout": (told(deployment=deployment(replicas=3, updatedReplicas=1)), "Available", "Available", "Progressing"),
    "a rollout that fails": (
        told(deployment=deployment(replicas=3, updatedReplicas=1), pods=[pod("a"), pod("b"), pod("c", **CRASHED)]),
        "Available", "Available", "CrashLoopBackOff",
    ),
    "the weights were changed": (
        told(deployment=deployment(1), pods=[pod("a"), pod("b", **TAMPERED)], of=CLAIMED),
        "Verified", "FileDiffers", "FileDiffers",
    ),
    "the weights were changed, and older replicas answer": (
        told(pods=[pod("a"), pod("b"), pod("c", **TAMPERED)], of=CLAIMED), "Verified", "FileDiffers", "FileDiffers",
    ),
    "refused, and outside": (told(REFUSED, outside=OUTSIDE), "Planned", "Ungoverned", "Ungoverned"),
    "outside, and not written": (told(outside=OUTSIDE, failure="409"), "Resident", "WrongPlace", "WrongPlace"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_ready_is_the_first_aspect_that_is_wrong(row: str) -> None:
    status, aspect, reason, ready = ROWS[row]
    said = conditions(status)
    assert said[aspect]["reason"] == reason
    assert said["Ready"]["reason"] == ready
    assert said["Ready"]["status"] == str(ready == "Serving")
    assert {each["observedGeneration"] for each in status["conditions"]} == {3}


def test_the_time_of_a_condition_moves_only_when_its_status_does() -> None:
    first = told(deployment=deployment(0))
    second = told(
        before=told(before=first, deployment=deployment(1), now=NOW + timedelta(hours=1)), now=NOW + timedelta(hours=2)
    )
    since = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert since["Available"] == since["Ready"] == "2026-11-21T02:00:00Z"
    assert since["Planned"] == since["Placed"] == "2026-11-21T00:00:00Z"


def test_the_same_world_gives_the_same_status() -> None:
    assert told(before=told(), now=NOW + timedelta(hours=1)) == told()


def test_a_model_that_cannot_be_read_keeps_what_was_said_of_it() -> None:
    status = summarise_unreadable({**MANIFEST, "status": told()}, "spec.x: wrong", now=NOW)
    assert status["placements"] == told()["placements"]
    assert {each["type"]: each["reason"] for each in status["conditions"]}["Ready"] == "InvalidModel"


def waiting(why: str, told: str = "", **last: Any) -> dict[str, Any]:
    state = {"name": "engine", "state": {"waiting": {"reason": why, "message": told}}}
    return {**state, "lastState": {"terminated": last}} if last else state


def again(name: str = "engine", **last: Any) -> dict[str, Any]:
    return {"name": name, "state": {"running": {}}, "lastState": {"terminated": last}}


TRACE = "Traceback (most recent call last):\n  File x\nValueError: the model has 8 heads\n\n"
TROUBLES: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "a failing pull": (waiting("ErrImagePull", "not found"), "ImagePullBackOff", "has no image: not found; check"),
    "a failing pull, later": (
        waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: not found'), "ImagePullBackOff",
        "has no image: not found; check the name",
    ),
    "a crash": (waiting("CrashLoopBackOff", "back-off", exitCode=1), "CrashLoopBackOff", "ended (exit code 1); read"),
    "started again": (again(exitCode=1), "CrashLoopBackOff", "ended (exit code 1); read its log: kubectl logs a -c"),
    "last words": (again(exitCode=1, message=TRACE), "CrashLoopBackOff", "last words: ValueError: the model has 8"),
    "out of memory": (again(reason="OOMKilled", exitCode=137), "OOMKilled", "raise requests.memory of the accelerator"),
    "a full disk": (
        again(exitCode=1, message=f"OSError: [Errno 28] No space left on device\n{TRACE}"),
        "NoSpace",
        "free or add space",
    ),
    "a full node": (
        waiting("ImagePullBackOff", "write /var/lib: no space left on device"),
        "NoSpace",
        "has no image: write /var/lib: no space left on device; the node's disk",
    ),
    "a cache that does not fit": (
        again(exitCode=1, message="9 GiB is needed, which is larger than the available KV cache memory (4 GiB)"),
        "CacheTooSmall",
        "shorten spec.context.maxLength",
    ),
    "a full device": (
        again(exitCode=1, message="torch.OutOfMemoryError: CUDA out of memory."),
        "DeviceOutOfMemory",
        "more devices",
    ),
    "slow storage": (
        again(exitCode=137, startedAt="2026-11-21T10:00:00Z", finishedAt="2026-11-21T11:00:05Z"),
        "SlowStart",
        "did not answer within 3600 s",
    ),
    "not sealed": (again("seal", exitCode=1, message="egress is open"), "NotSealed", "run a NetworkPolicy engine"),
    "no Secret for the gate": (
        again("gate", exitCode=1, message="{}\nthe gate does not start: the Secret is missing; create it\n"),
        "GateNotStarted", "lets nobody in: the Secret is missing; create it",
    ),
    "a gate that crashed": (again("gate", exitCode=139), "CrashLoopBackOff", "ended (exit code 139); read its log"),
    "never pulled": (waiting("ErrImageNeverPull", "absent"), "ErrImageNeverPull", "load the image into the node"),
    "a wrong name": (waiting("InvalidImageName"), "InvalidImageName", "correct the name"),
    "starting": (waiting("ContainerCreating"), None, ""),
    "running": ({"name": "engine", "state": {"running": {}}}, None, ""),
    "a restart of its node": (again(exitCode=0, reason="Completed"), None, ""),
}  # fmt: skip


@pytest.mark.parametrize("row", TROUBLES)
@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
def test_a_container_that_cannot_run_is_told_with_a_remedy(row: str, kind: str) -> None:
    container, reason, says = TROUBLES[row]
    found = trouble_of(deployment(), [{**pod(), "status": {kind: [container]}}])
    assert (found.reason if found else None) == reason
    assert says in (found.message if found else "")


def test_what_is_told_stays_the_same_while_a_container_goes_round() -> None:
    ended: Any = {"exitCode": 1, "message": TRACE}
    turns = [
        again(**ended), {"name": "engine", "state": {"terminated": ended}},
        waiting("CrashLoopBackOff", "back-off 10s", **ended), waiting("CrashLoopBackOff", "back-off 5m0s", **ended),
    ]  # fmt: skip
    assert len({trouble_of(deployment(), [pod(containerStatuses=[each])]) for each in turns}) == 1


def test_a_pod_that_answers_or_ends_is_no_trouble() -> None:
    ready = [{"type": "Ready", "status": "True"}]
    fine = pod("a", conditions=ready, containerStatuses=[again(exitCode=137)])
    ends = pod("b", deleted=True, **CRASHED)
    assert trouble_of(deployment(), [fine, ends, pod("c", phase="Failed", **CRASHED)]) is None


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("WrongPlace: no", "pods are refused: WrongPlace: no"),
        ('violates PodSecurity "restricted:latest": hostPath', "; take a source of weights that this level admits"),
        ("exceeded quota: small", "; raise the quota of the namespace"),
    ],
)
def test_refused_pods_are_told_with_a_remedy(message: str, says: str) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    found = trouble_of(deployment(conditions=[failure]), [])
    assert found
    assert found.reason == "FailedCreate"
    assert says in found.message


def test_containers_that_cannot_run_are_told_before_refused_pods_for_whose_end_nobody_waits() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "WrongPlace: no"}
    found = trouble_of(deployment(conditions=[failure]), [pod(**CRASHED)])
    assert found
    assert found.reason == "CrashLoopBackOff"


def of_template(written: dict[str, Any], template: str) -> dict[str, Any]:
    return {**written, "metadata": {**written["metadata"], "labels": {"pod-template-hash": template}}}


def test_an_evicted_pod_is_told_until_the_replicas_of_its_template_answer() -> None:
    evicted = of_template(pod("a", phase="Failed", reason="Evicted", message="The node was low on resource: disk"), "1")
    assert (found := trouble_of(deployment(), [evicted, of_template(pod("b"), "1")]))
    assert found.reason == "Evicted"
    assert "pod a out: The node was low on resource: disk; free or add" in found.message
    assert trouble_of(deployment(), [evicted, of_template(pod("b"), "2")]) is None


def test_progress_is_told_stage_by_stage() -> None:
    states: dict[str, Any] = {
        "a": {"containerStatuses": [{"name": "engine", "state": {"running": {}}}]},
        "b": {"initContainerStatuses": [{"name": "seal", "state": {"running": {}}}]},
        "c": {"initContainerStatuses": [{"name": "seal", "state": {"waiting": {"reason": "PodInitializing"}}}]},
        "d": {"conditions": [{"type": "Ready", "status": "True"}]},
        "e": {"containerStatuses": [{"name": "gate", "state": {"running": {}}}]},
    }
    pods = [pod(name, **status) for name, status in states.items()]
    said = conditions(told(deployment=deployment(1), pods=pods))["Available"]["message"]
    assert said == (
        "1 of 2 replicas answer: 1 being sealed off, 1 getting images and volumes, 1 loading the model, "
        "1 waiting for the endpoint outside"
    )


def test_nowhere_names_policies_rules_and_how_many_nodes_miss() -> None:
    count = Count(reason="WrongPlace", count=12, message="node a stands in US, but policy health allows DE")
    nowhere = replace(NOWHERE, eligibility=Eligibility(ineligible=(count,)))
    said = conditions(told(nowhere, pods=[pod(node=None)]))["Ready"]["message"]
    assert said == (
        "no node can take a replica under policies health and class cpu, and the model goes nowhere else: "
        "WrongPlace 12 (node a stands in US, but policy health allows DE)"
    )


def test_placements_tell_where_every_pod_runs() -> None:
    ready = pod("a", conditions=[{"type": "Ready", "status": "True"}])
    status = told(pods=[pod("b"), ready, pod("c", node="m"), pod("d", node=None), pod("e", phase="Failed")])
    assert status["placements"] == [
        {"pod": "a", "node": "n", "ready": True, "jurisdiction": "DE", "assurance": "Declared"},
        {"pod": "b", "node": "n", "ready": False, "jurisdiction": "DE", "assurance": "Declared"},
        {"pod": "c", "node": "m", "ready": False},
    ]
    assert status["jurisdictions"] == ["DE"]


def test_a_refused_model_that_still_runs_keeps_its_plan() -> None:
    kept = told(REFUSED, before=told())
    assert (kept["plan"], kept["endpoint"]) == (told()["plan"], "http://chat.clinic.svc/v1")
    assert "plan" not in told(REFUSED, before=told(), deployment=None)


@pytest.mark.parametrize("row", ROWS)
def test_the_schema_takes_every_status(row: str) -> None:
    SovereignModelStatus.model_validate(ROWS[row][0])
