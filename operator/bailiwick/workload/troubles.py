"""What is the matter with pods that do not come up, said so that somebody can act on it. Pure.

A reason and its message stay the same while a container goes round between waiting, starting and ending, so that a
status is not written anew at every turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bailiwick.workload.layout import GRACE_SECONDS
from bailiwick.workload.starting import ANY_START, Start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Raw = dict[str, Any]

_LONGEST_MESSAGE = 1024
_LONGEST_LAST_WORDS = 400
_OVER = frozenset({"Failed", "Succeeded"})
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
_WAITING = {
    "ErrImageNeverPull": "load the image into the node, or let it be pulled (pullPolicy)",
    "InvalidImageName": "correct the name of the image",
    "CreateContainerConfigError": "check that what the pod refers to exists",
    "CreateContainerError": "see the events of the pod",
    "RunContainerError": "see the events of the pod",
}
"""What a container can wait for in vain, and the remedy."""
_GATE_SAYS = "the gate does not start: "
_REFUSALS = {
    "PodSecurity": "take a source of weights that this level admits, or serve from a namespace that admits it",
    "exceeded quota": "raise the quota of the namespace, or ask for less",
}
"""Words of admission that hold no remedy of their own, and the remedy."""
_SHORTER = "shorten spec.context.maxLength, choose a smaller kvCacheType, or give a replica more devices"
_CAUSES = {
    "no space left on device": (
        "NoSpace",
        "the node's disk, the pod's scratch folder or its shared memory is full; free or add space on the node",
    ),
    "larger than the available kv cache memory": ("CacheTooSmall", f"{_SHORTER}; bailiwick plan says what fits"),
    "no available memory for the cache blocks": ("CacheTooSmall", f"{_SHORTER}; bailiwick plan says what fits"),
    "out of memory": ("DeviceOutOfMemory", f"{_SHORTER}; see that nothing else uses the device"),
}
"""Words by which engines and container runtimes tell why they cannot go on (vLLM 0.32, kv_cache_utils.py), in lower
case: the reason, and what to do. The first that is found counts."""
_OVERDUE = "ProgressDeadlineExceeded"
_LATE = 60
"""Seconds by which a kubelet may be late to end an engine that does not start. One that lived longer did answer."""
_HASH = "pod-template-hash"


COPY = "copy"
"""Name of the container that copies weights out of an image, or what stands before the dash of it."""
VERIFY = "verify"
"""Name of the container that verifies weights, or what stands before the dash of it."""
_REFUSAL = re.compile(r"([A-Z][A-Za-z]+): (.+)")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A reason for programs and a sentence for people."""

    reason: str
    message: str


def trouble_of(deployment: Raw, pods: Sequence[Raw], start: Start = ANY_START) -> Trouble | None:
    """The first thing that keeps replicas from answering: containers that cannot run, then pods that cannot be.

    ``start`` is what an engine may take to come up.
    """
    conditions = {each.get("type"): each for each in (deployment.get("status") or {}).get("conditions", ())}
    waiting = [pod for pod in living(pods) if not is_ready(pod)]
    for pod in sorted(waiting, key=lambda pod: str(pod["metadata"]["name"])):
        for container in containers_of(pod):
            if found := trouble_with(pod["metadata"]["name"], container, start):
                return found
    failure = conditions.get("ReplicaFailure", {})
    if failure.get("status") == "True":
        return _refused(failure)
    if evicted := _evicted(pods, waiting):
        return evicted
    if is_overdue(deployment):
        return Trouble(_OVERDUE, "no replica came up for longer than loading should take; see the events of pods")
    return None


def is_overdue(deployment: Raw | None) -> bool:
    """Whether its controller gave up waiting for a replica to come up."""
    conditions = ((deployment or {}).get("status") or {}).get("conditions", ())
    return any(each.get("type") == "Progressing" and each.get("reason") == _OVERDUE for each in conditions)


def stages_of(pods: Sequence[Raw]) -> str:
    """How far the replicas are that do not answer yet: ``1 loads the model, 2 wait for a node``."""
    counts: dict[str, int] = {}
    for pod in living(pods):
        if not is_ready(pod):
            stage = _stage_of(pod)
            counts[stage] = counts.get(stage, 0) + 1
    return ", ".join(f"{count} {stage}" for stage, count in sorted(counts.items()))


def running(pods: Sequence[Raw]) -> list[Raw]:
    """Pods whose containers run or will run; one that is being deleted runs until it is gone."""
    return [pod for pod in pods if pod.get("status", {}).get("phase") not in _OVER]


def living(pods: Sequence[Raw]) -> list[Raw]:
    """Pods that count as replicas: they are neither over nor being deleted."""
    return [pod for pod in running(pods) if not pod["metadata"].get("deletionTimestamp")]


def is_ready(pod: Raw) -> bool:
    """Whether a pod gets requests."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def refusal_in(ended: Raw) -> Trouble | None:
    """What `bailiwick weights` said last, where it refused; None where it ended otherwise."""
    lines = (ended.get("message") or "").strip().splitlines()
    found = _REFUSAL.fullmatch(lines[-1].strip()) if lines and ended.get("exitCode") == 1 else None
    return Trouble(found[1], _short(found[2], _LONGEST_MESSAGE)) if found else None


def _stage_of(pod: Raw) -> str:
    if not pod.get("spec", {}).get("nodeName"):
        return "waiting for a node"
    states = {container["name"]: container.get("state", {}) for container in containers_of(pod)}
    running = {name.partition("-")[0] for name, state in states.items() if "running" in state}
    if "engine" in running:
        return "loading the model"
    if "engine" not in states and "gate" in running:
        return "waiting for the endpoint outside"
    return next((stage for name, stage in _STAGES.items() if name in running), "getting images and volumes")


_STAGES = {"seal": "being sealed off", COPY: "copying the weights", VERIFY: "verifying the weights"}
"""What a pod does before its engine starts, by the container that does it; others of a kind have a dash behind it."""


def containers_of(pod: Raw) -> Iterator[Raw]:
    """The states of all its containers, in the order in which they start."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _refused(failure: Raw) -> Trouble:
    message = failure.get("message", "")
    remedy = next((remedy for words, remedy in _REFUSALS.items() if words in message), None)
    told = f"pods are refused: {message[:_LONGEST_MESSAGE]}"
    return Trouble(failure.get("reason", "FailedCreate"), f"{told}; {remedy}" if remedy else told)


def trouble_with(pod: str, container: Raw, start: Start = ANY_START) -> Trouble | None:
    """What one container waits for in vain, or how it ended; None where it does neither."""
    waiting = container.get("state", {}).get("waiting", {})
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    where = f"container {container['name']} of pod {pod}"
    if reason in _PULLING:
        if known := _known(said):
            return Trouble(known[0], f"{where} has no image: {_short(said)}; {known[1]}")
        cause = said.rpartition("ErrImagePull: ")[2] or "the registry gave no image"
        remedy = "check the name of the image, the pull secrets, and the node's way to the registry"
        return Trouble("ImagePullBackOff", f"{where} has no image: {_short(cause)}; {remedy}")
    if reason in _WAITING:
        return Trouble(reason, f"{where} cannot start: {_short(said) or reason}; {_WAITING[reason]}")
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    return (
        _ended(pod, container["name"], ended, start)
        if ended.get("exitCode") or ended.get("reason") == "OOMKilled"
        else None
    )


def _ended(pod: str, container: str, ended: Raw, start: Start) -> Trouble:
    """A container that ended in a way that it should not have, and is started again."""
    where = f"container {container} of pod {pod}"
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            "OOMKilled",
            f"{where} needed more memory than it may have; raise requests.memory of the accelerator class, or serve a "
            f"shorter context (spec.context)",
        )
    words = f"exit code {ended.get('exitCode')}"
    last = _last_words(ended.get("message") or "")
    words += f", last words: {last}" if last else ""
    return (
        _by_one_of_ours(where, container, ended, last, words)
        or _by_an_engine(where, container, ended, words, start)
        or Trouble(
            "CrashLoopBackOff", f"{where} ended ({words}); read its log: kubectl logs {pod} -c {container} --previous"
        )
    )


def _by_one_of_ours(where: str, container: str, ended: Raw, last: str, words: str) -> Trouble | None:
    """The seal, the verification and the gate end on purpose, and say why."""
    if container == "gate" and last.startswith(_GATE_SAYS):
        return Trouble("GateNotStarted", f"{where} lets nobody in: {last.removeprefix(_GATE_SAYS)}")
    if container.partition("-")[0] == VERIFY and (refused := refusal_in(ended)):
        return Trouble(refused.reason, f"{where} refuses the weights: {refused.message}")
    if container == "seal":
        return Trouble(
            "NotSealed",
            f"{where} found the way out of the pod open ({words}); the engine does not start before it is shut: run a "
            f"NetworkPolicy engine on the nodes, and let no NetworkPolicy of the namespace open this pod's egress",
        )
    return None


def _by_an_engine(where: str, container: str, ended: Raw, words: str, start: Start) -> Trouble | None:
    """What engines are known to end by."""
    if known := _known(ended.get("message") or ""):
        return Trouble(known[0], f"{where} ended ({words}); {known[1]}")
    if container == "engine" and start.seconds <= _lasted(ended) <= start.seconds + GRACE_SECONDS + _LATE:
        return Trouble(
            "SlowStart",
            f"{where} did not answer within {start.seconds} s and was ended ({words}): {start}, or read the weights "
            f"from faster storage, such as a disk of the node",
        )
    return None


def _known(text: str) -> tuple[str, str] | None:
    """Reason and remedy of what an engine or a runtime said, when it is one of the things that are known to happen."""
    lowered = text.lower()
    return next((told for words, told in _CAUSES.items() if words in lowered), None)


def _lasted(ended: Raw) -> float:
    """Seconds that a container ran; 0 when nobody says."""
    began, over = (ended.get(key) for key in ("startedAt", "finishedAt"))
    return (datetime.fromisoformat(over) - datetime.fromisoformat(began)).total_seconds() if began and over else 0.0


def _evicted(pods: Sequence[Raw], waiting: Sequence[Raw]) -> Trouble | None:
    """The kubelet put a pod out. One of an earlier template says nothing about those that are waited for."""
    hashes = {pod["metadata"].get("labels", {}).get(_HASH) for pod in waiting}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        status = pod.get("status", {})
        if status.get("reason") == "Evicted" and pod["metadata"].get("labels", {}).get(_HASH) in hashes:
            why = _short(status.get("message") or "no reason told")
            return Trouble(
                "Evicted", f"the kubelet put pod {pod['metadata']['name']} out: {why}; free or add what the node lacks"
            )
    return None


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return _short(lines[-1], _LONGEST_LAST_WORDS) if lines else ""


def _short(text: str, most: int = _LONGEST_MESSAGE // 2) -> str:
    """The text on one line, cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
