"""The status of a model, as tables: what is the matter, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bailiwick.api.modelstatus import Plan
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.verdict import ALLOWED, Reason, refuse
from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.plan import WorkloadPlan
from bailiwick.workload.status import Seen, summarise, summarise_unreadable
from bailiwick.workload.troubles import trouble_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)
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
OUTSIDE = {"n": refuse(Reason.WRONG_PLACE, "n stands in US")}


def pod(name: str = "a", node: str | None = "n", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeName": node} if node else {}, "status": status}


def deployment(ready: int = 2, **status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 1, "replicas": 2, "readyReplicas": ready, "updatedReplicas": 2}
    return {"metadata": {"generation": 1}, "spec": {"replicas": 2}, "status": {**counts, **status}}


def told(plan: WorkloadPlan = PLANNED, *, before: Any = None, now: datetime = NOW, **seen: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "deployment": deployment(), "pods": [pod("a"), pod("b")], "facts": {}, "outside": {}, "failure": None,
    }  # fmt: skip
    manifest = {**MANIFEST, "status": before} if before else MANIFEST
    return summarise(MODEL, plan, Seen(manifest=manifest, **(known | seen)), now=now)


ROWS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # what is seen → the aspect that is wrong, its reason, and what Ready says
    "all is well": (told(), "Available", "Available", "Serving"),
    "refused": (told(REFUSED), "Planned", "Ungoverned", "Ungoverned"),
    "a pod is outside": (told(outside=OUTSIDE), "Resident", "WrongPlace", "WrongPlace"),
    "no node": (told(NOWHERE, pods=[pod(node=None)]), "Placed", "NoEligibleNode", "NoEligibleNode"),
    "no room": (told(pods=[pod(node=None)]), "Placed", "Unschedulable", "Unschedulable"),
    "not written": (told(failure="409"), "Available", "NotWritten", "NotWritten"),
    "no deployment": (told(deployment=None, pods=[]), "Available", "NoDeployment", "Progressing"),
    "starting": (told(deployment=deployment(1)), "Available", "Progressing", "Progressing"),
    "an old generation": (told(deployment=deployment(observedGeneration=0)), "Available", "Progressing", "Progressing"),
    "a rollout": (told(deployment=deployment(replicas=3)), "Available", "Progressing", "Progressing"),
    "refused, and outside": (told(REFUSED, outside=OUTSIDE), "Planned", "Ungoverned", "Ungoverned"),
    "outside, and not written": (told(outside=OUTSIDE, failure="409"), "Resident", "WrongPlace", "WrongPlace"),
}


@pytest.mark.parametrize("row", ROWS)
def test_ready_is_the_first_aspect_that_is_wrong(row: str) -> None:
    status, aspect, reason, ready = ROWS[row]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert conditions[aspect]["reason"] == reason
    assert conditions["Ready"]["reason"] == ready
    assert conditions["Ready"]["status"] == str(ready == "Serving")
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


def waiting(why: str, **last: Any) -> dict[str, Any]:
    state = {"name": "engine", "state": {"waiting": {"reason": why}}}
    return {**state, "lastState": {"terminated": last}} if last else state


@pytest.mark.parametrize(
    ("containers", "reason", "says"),
    [
        ([waiting("ImagePullBackOff")], "ImagePullBackOff", "the node's access to the registry"),
        ([waiting("CrashLoopBackOff", exitCode=1)], "CrashLoopBackOff", "exit code 1; see the log"),
        ([waiting("CrashLoopBackOff", reason="OOMKilled")], "OOMKilled", "raise the class's memory"),
        ([waiting("ContainerCreating")], None, ""),
        ([{"name": "engine", "state": {"running": {}}}], None, ""),
    ],
)
def test_a_container_that_cannot_run_is_told_with_a_remedy(containers: Any, reason: str | None, says: str) -> None:
    for kind in ("containerStatuses", "initContainerStatuses"):
        found = trouble_of(deployment(), [pod(**{kind: containers})])
        assert (found.reason if found else None) == reason
        assert says in (found.message if found else "")


def test_refused_pods_are_told_before_anything_else() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "WrongPlace: no"}
    found = trouble_of(deployment(conditions=[failure]), [pod(containerStatuses=[waiting("ImagePullBackOff")])])
    assert found
    assert (found.reason, found.message) == ("FailedCreate", "pods are refused: WrongPlace: no")
