"""Who scales a model, on what, and why not; and what the status says of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bailiwick.workload.scaled import autoscaled
from bailiwick.workload.scaling import Scaling
from tests.unit.workload.given import child, gpus, model, plan

KEDA = {"minReplicas": 1, "maxReplicas": 2, "scaler": "KEDA"}
TO_ZERO = {"minReplicas": 0, "maxReplicas": 2}
ABLE = Scaling(prometheus="http://prometheus", wake_query="up{namespace='$namespace', model='$model', left='$1'}")


def kinds(spec: Any, **given: Any) -> set[str]:
    """What scales a model."""
    made = plan(model(autoscaling=spec), served=["ScaledObject"], scaling=ABLE, **given)
    assert made.verdict.allowed, made.verdict
    return {each["kind"] for each in made.objects} & {"HorizontalPodAutoscaler", "ScaledObject"}


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ({"maxReplicas": 2}, {"HorizontalPodAutoscaler"}),
        (KEDA, {"ScaledObject"}),
        (TO_ZERO, {"ScaledObject"}),
        ({**TO_ZERO, "scaler": "KEDA"}, {"ScaledObject"}),
    ],
    ids=["by itself", "as asked", "to zero", "to zero, as asked"],
)
def test_one_thing_scales_a_model(asked: Any, by: set[str]) -> None:
    assert kinds(asked) == by


def test_nobody_scales_a_model_that_does_not_ask() -> None:
    made = plan(model(replicas=3), served=["ScaledObject"], scaling=ABLE)
    assert {"HorizontalPodAutoscaler", "ScaledObject"}.isdisjoint(each["kind"] for each in made.objects)


@pytest.mark.parametrize(
    ("asked", "served", "scaling", "reason", "says"),
    [
        ({**TO_ZERO, "scaler": "HorizontalPodAutoscaler"}, ["ScaledObject"], ABLE, "InvalidModel", "at least one"),
        (TO_ZERO, [], ABLE, "NotInstalled", "install KEDA"),
        (KEDA, [], ABLE, "NotInstalled", "spec.autoscaling.scaler is KEDA"),
        (KEDA, ["ScaledObject"], Scaling(), "NotInstalled", "autoscaling.prometheus of the chart"),
        (TO_ZERO, ["ScaledObject"], Scaling(prometheus="http://p"), "NotInstalled", "autoscaling.wakeQuery of the"),
    ],
    ids=["no autoscaler goes to zero", "no KEDA", "no KEDA as asked", "no Prometheus", "nothing to wake it"],
)
def test_what_cannot_scale_is_refused_with_a_remedy(
    asked: Any, served: list[str], scaling: Scaling, reason: str, says: str
) -> None:
    made = plan(model(autoscaling=asked), served=served, scaling=scaling)
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message
    assert ";" in made.verdict.message


def test_a_look_that_nobody_took_refuses_nothing() -> None:
    assert plan(model(autoscaling=KEDA), served=None, scaling=ABLE).verdict.allowed


def test_a_model_that_may_be_gone_is_kept_awake_by_what_runs_and_woken_by_who_wants_it() -> None:
    made = plan(model(autoscaling=TO_ZERO), served=["ScaledObject"], scaling=ABLE)
    triggers = {each["name"]: each["metadata"] for each in child(made, "ScaledObject")["spec"]["triggers"]}
    assert list(triggers) == ["waiting", "running", "wanted"]
    assert triggers["wanted"]["query"] == "up{namespace='clinic', model='chat', left='$1'}"
    assert {each["activationThreshold"] for each in triggers.values()} == {"0"}
    assert int(triggers["running"]["threshold"]) >= 10**6, "what runs keeps one replica, and asks for no second"


@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        ("chat-7d9f8c6b5d-x2x4z", True),
        ("chat-group-0", True),
        ("chat-group-0-1", False),
        ("chat-large-7d9f8c6b5d-x2x4z", False),
        ("chat-large-0", False),
        ("chat-0-1", False),
        ("chat", False),
    ],
)
def test_figures_are_those_of_the_models_own_replicas(pod: str, counts: bool) -> None:
    made = plan(model(autoscaling=KEDA), served=["ScaledObject"], scaling=ABLE)
    query = child(made, "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    (pattern,) = re.findall(r'pod=~"([^"]+)"', query)
    assert bool(re.fullmatch(pattern, pod)) is counts


def told(kind: str, *conditions: tuple[str, str, str]) -> Any:
    return {
        "kind": kind,
        "status": {"conditions": [dict(zip(("type", "status", "reason"), each, strict=True)) for each in conditions]},
    }


HPA = "HorizontalPodAutoscaler"


@pytest.mark.parametrize(
    ("scaler", "status", "reason", "says"),
    [
        (None, "Unknown", "NotWritten", "nothing yet"),
        ({"kind": HPA}, "Unknown", "NotLookedAt", "custom.metrics.k8s.io"),
        (told(HPA, ("AbleToScale", "True", "a")), "Unknown", "NotLookedAt", "nobody has acted"),
        (
            told(HPA, ("AbleToScale", "True", "a"), ("ScalingActive", "False", "FailedGetPodsMetric")),
            "False", "FailedGetPodsMetric", "autoscaling.podsMetric of the chart",
        ),
        (told(HPA, ("AbleToScale", "False", "FailedGetScale")), "False", "FailedGetScale", "cannot scale"),
        (
            told(HPA, ("AbleToScale", "True", "a"), ("ScalingActive", "False", "ScalingDisabled")),
            "False", "ScalingDisabled", "set it to 1 or more",
        ),
        (told(HPA, ("AbleToScale", "True", "a"), ("ScalingActive", "True", "b")), "True", "Following", HPA),
        (told("ScaledObject", ("Ready", "False", "TriggerError")), "False", "TriggerError", "autoscaling.prometheus"),
        (told("ScaledObject", ("Ready", "True", "ScaledObjectReady")), "True", "Following", "ScaledObject"),
    ],
)  # fmt: skip
def test_the_status_says_whether_somebody_scales(scaler: Any, status: str, reason: str, says: str) -> None:
    condition = autoscaled(scaler)
    assert (condition.status, condition.reason) == (status, reason)
    assert says in condition.message


QUEUED = {"kueue.x-k8s.io/queue-name": "research", "kueue.x-k8s.io/priority-class": "low"}


def labelled(labels: dict[str, str], **spec: Any) -> Any:
    """A model with labels."""
    asked = model(**spec)
    return asked.model_copy(update={"metadata": asked.metadata.model_copy(update={"labels": labels})})


def test_labels_of_a_queue_are_handed_on_and_no_others() -> None:
    others = {"kueue.x-k8s.io/managed": "true", "kueue.x-k8s.io/pod-group-name": "g", "team": "a"}
    made = child(plan(labelled({**QUEUED, **others})), "Deployment")
    plain = child(plan(model()), "Deployment")
    for with_queue, without in (
        (made["metadata"]["labels"], plain["metadata"]["labels"]),
        (made["spec"]["template"]["metadata"]["labels"], plain["spec"]["template"]["metadata"]["labels"]),
    ):
        assert with_queue == without | QUEUED
    assert made["spec"]["selector"] == plain["spec"]["selector"]


def test_a_group_is_queued_as_a_whole() -> None:
    asked = labelled(QUEUED, accelerators={"classes": ["gpu"]}, parallelism={"tensor": 8, "pipeline": 2})
    made = child(plan(asked, classes=[gpus(devicesPerNode=8)]), "LeaderWorkerSet")
    assert made["metadata"]["labels"] | QUEUED == made["metadata"]["labels"]
    group = made["spec"]["leaderWorkerTemplate"]
    for template in (group["leaderTemplate"], group["workerTemplate"]):
        assert not QUEUED.keys() & template["metadata"]["labels"].keys()
